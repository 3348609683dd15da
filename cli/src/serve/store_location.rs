use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the daemon stores its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreLocation {
    Memory,
    File(PathBuf),
}

impl FromStr for StoreLocation {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "memory" { Self::Memory } else { Self::File(text.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_to_memory_is_a_file() {
        assert_eq!("memory".parse(), Ok(StoreLocation::Memory));
        assert_eq!("./memory".parse(), Ok(StoreLocation::File("./memory".into())));
    }
}
