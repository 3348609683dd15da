use foreman_client::JobId;

/// The shell command that waits for a job again. `url` is the daemon's URL, or `None` if the environment sets it.
pub(crate) fn resume_command(url: Option<&str>, job_id: &JobId) -> String {
    let mut command = "foreman wait ".to_owned();
    if let Some(url) = url {
        command.push_str(&format!("--url {} ", shell_quote(url)));
    }
    if job_id.as_str().starts_with('-') {
        command.push_str("-- ");
    }
    command + &shell_quote(job_id.as_str())
}

/// Quotes a word for a POSIX shell, if it needs quotes.
fn shell_quote(word: &str) -> String {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,".contains(character);
    if word.chars().all(is_safe) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_and_url_are_quoted() {
        for (id, expected) in [
            ("0198c2a6", "foreman wait 0198c2a6"),
            ("-a", "foreman wait -- -a"),
            ("a; reboot", "foreman wait 'a; reboot'"),
            ("$(a)'b", r"foreman wait '$(a)'\''b'"),
        ] {
            assert_eq!(resume_command(None, &JobId::new(id).unwrap()), expected);
        }
        let job_id = JobId::new("7").unwrap();
        assert_eq!(resume_command(Some("http://h:1/a"), &job_id), "foreman wait --url http://h:1/a 7");
        assert_eq!(resume_command(Some("http://[::1]:1"), &job_id), "foreman wait --url 'http://[::1]:1' 7");
    }
}
