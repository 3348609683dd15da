use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "postgres")]
use secrecy::SecretString;

/// Where the daemon stores its jobs.
#[derive(Debug, Clone)]
pub(crate) enum StoreLocation {
    Memory,
    File(PathBuf),
    /// A URL, which may contain a password.
    #[cfg(feature = "postgres")]
    Database(SecretString),
}

impl FromStr for StoreLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            // For SQLite, a database that is deleted when it is closed.
            "" => Err("must not be empty"),
            "memory" => Ok(Self::Memory),
            #[cfg(feature = "postgres")]
            url if is_database(url) => Ok(Self::Database(url.into())),
            #[cfg(not(feature = "postgres"))]
            url if is_database(url) => Err("this foreman was built without the feature postgres"),
            // Before it is taken for a file, whose name errors show: a URL may contain a password.
            url if may_be_url(url) => {
                Err("must be memory, a URL of the form postgres://USER@HOST/DATABASE, or a file; \
                                           ./ has to precede the name of a file with one of the characters `:`, `@` and `=`")
            }
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => write!(f, "{}", path.display()),
            #[cfg(feature = "postgres")]
            Self::Database(_) => f.write_str("postgres"),
        }
    }
}

fn is_database(text: &str) -> bool {
    let is_name = |scheme: &str| ["postgres", "postgresql"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    text.split_once("://").is_some_and(|(scheme, _)| is_name(scheme))
}

/// Whether the text may be a URL with another scheme, a misspelled one, or another description of a database.
fn may_be_url(text: &str) -> bool {
    let has_drive = matches!(text.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    let is_path = has_drive || ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    text.contains("://") || text.starts_with("//") || (!is_path && text.contains([':', '@', '=']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_is_memory_a_file_or_a_database() {
        let parsed = |text: &str| text.parse::<StoreLocation>();
        assert!(matches!(parsed("memory"), Ok(StoreLocation::Memory)) && parsed("").is_err());
        for path in
            ["./memory", "jobs.db", "/var/a:b@c/jobs.db", "./a=b", r"C:\jobs.db", "C:/jobs.db", "postgres/jobs.db"]
        {
            assert!(matches!(parsed(path), Ok(StoreLocation::File(file)) if file == *path), "{path}");
        }
        for url in [
            "postgress://u:secret@h/d",
            "mysql://u:secret@h/d",
            "postgres:/u:secret@h/d",
            "postgres//u:secret@h/d",
            "postgres:u:secret@h/d",
            "//u:secret@h/d",
            "u:secret@h/d",
            "host=h password=secret",
            " postgres://u:secret@h/d",
            "'postgres://u:secret@h/d'",
            "/postgres://u:secret@h/d",
            "http://h",
        ] {
            assert!(parsed(url).is_err_and(|error| error.starts_with("must be memory, a URL")), "{url}");
        }
        for url in ["postgres://u:secret@h/d", "postgresql://h/d", "Postgres://u:secret@h/d", "POSTGRESQL://h/d"] {
            let database = parsed(url);
            #[cfg(feature = "postgres")]
            assert!(matches!(database, Ok(StoreLocation::Database(_))), "{url}");
            assert!(!format!("{database:?}").contains("secret@"));
        }
    }
}
