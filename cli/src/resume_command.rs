use std::path::PathBuf;

/// The shell command that waits for a job again, which works in any shell of this machine: the environment of the present command
/// may have been set for it alone.
#[derive(Debug, Default)]
pub(crate) struct ResumeCommand {
    /// The URL of the daemon, if there is one.
    pub(crate) url: String,
    /// The value of `--token-file`.
    pub(crate) token_file: Option<PathBuf>,
    /// Whether `--token` was used. Its value is not printed.
    pub(crate) token: bool,
}

impl ResumeCommand {
    /// The command for a job with that name. `daemon`: its URL, if there are several.
    pub(crate) fn of(&self, job: &str, daemon: Option<&str>) -> String {
        let mut command = format!("foreman wait --url {} ", shell_quote(daemon.unwrap_or(&self.url)));
        if let Some(file) = &self.token_file {
            command.push_str(&format!("--token-file={} ", shell_quote(&file.display().to_string())));
        }
        if job.starts_with('-') {
            command.push_str("-- ");
        }
        command.push_str(&shell_quote(job));
        if self.token {
            command.push_str(" (with the same --token)");
        }
        command
    }
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub(crate) fn shell_quote(word: &str) -> String {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,".contains(character);
    if word.chars().all(is_safe) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(url: &str, id: &str) -> String {
        ResumeCommand { url: url.to_owned(), ..ResumeCommand::default() }.of(id, None)
    }

    #[test]
    fn job_id_and_url_are_quoted() {
        for (id, expected) in [
            ("0198c2a6", "foreman wait --url http://h 0198c2a6"),
            ("-a", "foreman wait --url http://h -- -a"),
            ("a; reboot", "foreman wait --url http://h 'a; reboot'"),
            ("$(a)'b", r"foreman wait --url http://h '$(a)'\''b'"),
        ] {
            assert_eq!(command("http://h", id), expected);
        }
        assert_eq!(command("http://h:1/a", "7"), "foreman wait --url http://h:1/a 7");
        assert_eq!(command("http://[::1]:1", "7"), "foreman wait --url 'http://[::1]:1' 7");
    }

    #[test]
    fn token_file_is_repeated_and_token_is_not() {
        let mut resume =
            ResumeCommand { url: "http://h".to_owned(), token_file: Some("-my token".into()), token: false };
        assert_eq!(resume.of("7", None), "foreman wait --url http://h --token-file='-my token' 7");
        resume = ResumeCommand { token_file: None, token: true, ..resume };
        assert_eq!(resume.of("7", None), "foreman wait --url http://h 7 (with the same --token)");
    }

    #[test]
    fn job_of_several_daemons_is_named_by_its_url() {
        let command = ResumeCommand::default().of("http://a/jobs/7", Some("http://a"));
        assert_eq!(command, "foreman wait --url http://a http://a/jobs/7");
    }
}
