use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the daemon keeps its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    File(PathBuf),
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "memory" { Self::Memory } else { Self::File(text.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_called_memory_has_a_path() {
        assert_eq!("memory".parse(), Ok(Place::Memory));
        assert_eq!("./memory".parse(), Ok(Place::File("./memory".into())));
    }
}
