//! Tokens and secrets, from a flag, a file or the environment. Every user who can list the machine's processes can read a flag.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::Failure;
use crate::input;

/// The bearer token for requests to the daemon.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The bearer token [default: none]. Other users of this machine can read it; prefer --token-file or FOREMAN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    token: Option<SecretString>,
    /// A file with the bearer token. Overrides FOREMAN_TOKEN and FOREMAN_TOKEN_FILE
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The file that the token is read from, by a flag or the environment, and whether a flag has the token itself.
    pub(crate) fn source(&self) -> (Option<PathBuf>, bool) {
        let from_environment = || match env_value("FOREMAN_TOKEN") {
            Ok(None) if self.token.is_none() => std::path::absolute(env_file("FOREMAN_TOKEN").ok()??).ok(),
            _ => None,
        };
        (self.token_file.clone().or_else(from_environment), self.token.is_some())
    }

    pub(crate) fn read(self) -> Result<Option<String>, Failure> {
        read_one(self.token, self.token_file, "FOREMAN_TOKEN")
    }
}

/// The bearer token of operators.
#[derive(Debug, Args)]
pub(crate) struct AdminTokenArgs {
    /// The bearer token of operators, for the daemon and for `foreman admin`; it must differ from the other tokens, and allows to drain and to
    /// list daemons only [default: none; then only a daemon without tokens that serves this machine alone can be drained]. Other users of
    /// this machine can read it; prefer --admin-token-file or FOREMAN_ADMIN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<SecretString>,
    /// A file with the bearer token of operators. Overrides FOREMAN_ADMIN_TOKEN and FOREMAN_ADMIN_TOKEN_FILE
    #[arg(long, value_name = "FILE", conflicts_with = "admin_token")]
    admin_token_file: Option<PathBuf>,
}

impl AdminTokenArgs {
    pub(crate) fn read(self) -> Result<Option<String>, Failure> {
        read_one(self.admin_token, self.admin_token_file, "FOREMAN_ADMIN_TOKEN")
    }
}

/// The secret that the daemon signs its webhooks with.
#[derive(Debug, Args)]
pub(crate) struct WebhookSecretArgs {
    /// The secret that signs webhooks, the same for the daemon and its clients [default: unsigned webhooks]. Other users of this
    /// machine can read it; prefer --webhook-secret-file or FOREMAN_WEBHOOK_SECRET
    #[arg(long, value_name = "SECRET")]
    webhook_secret: Option<SecretString>,
    /// A file with the secret that signs webhooks. Overrides FOREMAN_WEBHOOK_SECRET and FOREMAN_WEBHOOK_SECRET_FILE
    #[arg(long, value_name = "FILE", conflicts_with = "webhook_secret")]
    webhook_secret_file: Option<PathBuf>,
}

impl WebhookSecretArgs {
    pub(crate) fn read(self) -> Result<Option<String>, Failure> {
        read_one(self.webhook_secret, self.webhook_secret_file, "FOREMAN_WEBHOOK_SECRET")
    }
}

/// Reads one secret. Precedence: flag, file, `variable`, the file that `{variable}_FILE` names.
pub(crate) fn read_one(
    flag: Option<SecretString>,
    file: Option<PathBuf>,
    variable: &'static str,
) -> Result<Option<String>, Failure> {
    if let Some(secret) = flag {
        return Ok(Some(secret.expose_secret().to_owned()));
    }
    if let Some(file) = file {
        return single_line(&file).map(Some);
    }
    if let Some(secret) = env_value(variable)? {
        return Ok(Some(secret));
    }
    env_file(variable)?.map(|file| single_line(&file)).transpose()
}

/// Reads any number of secrets: those of flags and file together, or else those of the environment, as in [`read_one`].
pub(crate) fn read_many(
    flags: &[SecretString],
    file: Option<PathBuf>,
    variable: &'static str,
) -> Result<Vec<String>, Failure> {
    let mut all: Vec<_> = flags.iter().map(|flag| flag.expose_secret().to_owned()).collect();
    if let Some(file) = file {
        all.extend(non_empty_lines(&file)?);
    }
    if all.is_empty() {
        if let Some(secret) = env_value(variable)? {
            all.push(secret);
        } else if let Some(file) = env_file(variable)? {
            all = non_empty_lines(&file)?;
        }
    }
    Ok(all)
}

/// The value of a variable. An empty value is an error: the command that should have set it has failed, and the daemon must not
/// start without a token because of that.
fn env_value(variable: &str) -> Result<Option<String>, Failure> {
    match env::var(variable) {
        Ok(value) if value.is_empty() => Err(empty(variable)),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Failure::Usage(format!("{variable} is not valid UTF-8"))),
    }
}

/// The value of `{variable}_FILE`. An empty value is an error, as in [`env_value`].
fn env_file(variable: &str) -> Result<Option<PathBuf>, Failure> {
    let variable = format!("{variable}_FILE");
    match env::var_os(&variable) {
        Some(file) if file.is_empty() => Err(empty(&variable)),
        file => Ok(file.map(PathBuf::from)),
    }
}

fn empty(variable: &str) -> Failure {
    Failure::Usage(format!("{variable} is set but empty; unset it or set a value"))
}

fn single_line(file: &Path) -> Result<String, Failure> {
    match <[String; 1]>::try_from(non_empty_lines(file)?) {
        Ok([secret]) => Ok(secret),
        Err(_) => Err(Failure::Usage(format!("{} must contain exactly one line", file.display()))),
    }
}

/// The lines that are not empty, without surrounding white space. There is at least one.
fn non_empty_lines(file: &Path) -> Result<Vec<String>, Failure> {
    let text = input::file(file)?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Failure::Usage(format!("{} is empty", file.display())));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn file_has_one_secret_per_line() {
        let file = file_with("\u{feff}  one \r\n\n two\n");
        assert_eq!(non_empty_lines(file.path()).unwrap(), ["one", "two"]);
        assert!(
            matches!(single_line(file.path()), Err(Failure::Usage(message)) if message.ends_with("must contain exactly one line"))
        );
        assert_eq!(single_line(file_with("one\n").path()).unwrap(), "one");
        assert!(
            matches!(single_line(file_with("\n").path()), Err(Failure::Usage(message)) if message.ends_with("is empty"))
        );
    }

    #[test]
    fn flags_and_file_are_combined() {
        let file = file_with("two\n");
        let flags = ["one".into()];
        assert_eq!(read_many(&flags, Some(file.path().into()), "FOREMAN_TEST_UNSET").unwrap(), ["one", "two"]);
        assert_eq!(read_many(&[], None, "FOREMAN_TEST_UNSET").unwrap(), [""; 0]);
    }
}
