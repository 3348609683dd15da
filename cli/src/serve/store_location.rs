use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the daemon stores its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreLocation {
    Memory,
    File(PathBuf),
}

impl FromStr for StoreLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            // For SQLite, a database that is deleted when it is closed.
            "" => Err("must not be empty"),
            "memory" => Ok(Self::Memory),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
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
