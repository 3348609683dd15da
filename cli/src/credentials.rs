//! Tokens and secrets: from a flag, from a file, from the environment. What is in a flag is seen by everybody who may list
//! the machine's processes.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;
use crate::input;
use crate::secret::Secret;

/// The token to show to the daemon.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The bearer token; others on this machine can see it, so rather use --token-file or FOREMAN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    token: Option<Secret>,
    /// A file with the bearer token; over FOREMAN_TOKEN and FOREMAN_TOKEN_FILE
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

impl Token {
    pub(crate) fn read(self) -> Result<Option<String>, Failure> {
        one(self.token, self.token_file, "FOREMAN_TOKEN")
    }
}

/// The secret that the daemon signs its webhooks with.
#[derive(Debug, Args)]
pub(crate) struct WebhookSecret {
    /// The secret of the daemon's webhooks; others on this machine can see it, so rather use --webhook-secret-file or
    /// FOREMAN_WEBHOOK_SECRET
    #[arg(long, value_name = "SECRET")]
    webhook_secret: Option<Secret>,
    /// A file with the secret of the daemon's webhooks; over FOREMAN_WEBHOOK_SECRET and FOREMAN_WEBHOOK_SECRET_FILE
    #[arg(long, value_name = "FILE", conflicts_with = "webhook_secret")]
    webhook_secret_file: Option<PathBuf>,
}

impl WebhookSecret {
    pub(crate) fn read(self) -> Result<Option<String>, Failure> {
        one(self.webhook_secret, self.webhook_secret_file, "FOREMAN_WEBHOOK_SECRET")
    }
}

/// One from a flag, else from a file, else from the variable, else from the file that the variable with `_FILE` names.
pub(crate) fn one(
    given: Option<Secret>,
    file: Option<PathBuf>,
    variable: &'static str,
) -> Result<Option<String>, Failure> {
    if let Some(secret) = given {
        return Ok(Some(secret.reveal()));
    }
    if let Some(file) = file {
        return single(&file).map(Some);
    }
    if let Some(secret) = value_of(variable)? {
        return Ok(Some(secret));
    }
    file_of(variable).map(|file| single(&file)).transpose()
}

/// Any number of them: all that flags and the file name, else what [`one`] finds in the environment.
pub(crate) fn several(
    given: Vec<Secret>,
    file: Option<PathBuf>,
    variable: &'static str,
) -> Result<Vec<String>, Failure> {
    let mut all: Vec<_> = given.into_iter().map(Secret::reveal).collect();
    if let Some(file) = file {
        all.extend(filled_lines(&file)?);
    }
    if all.is_empty() {
        if let Some(secret) = value_of(variable)? {
            all.push(secret);
        } else if let Some(file) = file_of(variable) {
            all = filled_lines(&file)?;
        }
    }
    Ok(all)
}

/// A variable that is empty counts as unset.
fn value_of(variable: &str) -> Result<Option<String>, Failure> {
    match env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Failure::Usage(format!("{variable} is not UTF-8"))),
    }
}

/// Likewise, the file that the variable with `_FILE` names.
fn file_of(variable: &str) -> Option<PathBuf> {
    env::var_os(format!("{variable}_FILE")).filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn single(file: &Path) -> Result<String, Failure> {
    match <[String; 1]>::try_from(filled_lines(file)?) {
        Ok([secret]) => Ok(secret),
        Err(_) => Err(Failure::Usage(format!("{} must have one line", file.display()))),
    }
}

/// The lines that are not empty, of which there is one at least.
fn filled_lines(file: &Path) -> Result<Vec<String>, Failure> {
    let text = input::file(file)?;
    let filled: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if filled.is_empty() {
        return Err(Failure::Usage(format!("{} is empty", file.display())));
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_has_one_secret_or_a_line_for_each() {
        let file = written("\u{feff}  one \r\n\n two\n");
        assert_eq!(filled_lines(file.path()).unwrap(), ["one", "two"]);
        assert!(matches!(single(file.path()), Err(Failure::Usage(why)) if why.ends_with("must have one line")));
        assert_eq!(single(written("one\n").path()).unwrap(), "one");
        assert!(matches!(single(written("\n").path()), Err(Failure::Usage(why)) if why.ends_with("is empty")));
    }

    #[test]
    fn flags_and_files_add_up() {
        let file = written("two\n");
        let given = vec!["one".parse().unwrap()];
        assert_eq!(several(given, Some(file.path().into()), "FOREMAN_TEST_UNSET").unwrap(), ["one", "two"]);
        assert_eq!(several(Vec::new(), None, "FOREMAN_TEST_UNSET").unwrap(), [""; 0]);
    }
}
