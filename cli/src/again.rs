use foreman_client::JobId;

/// The command that waits for a job again, as a shell takes it: with the daemon's URL unless the environment has it.
pub(crate) fn command(url: Option<&str>, job_id: &JobId) -> String {
    let mut command = "foreman wait ".to_owned();
    if let Some(url) = url {
        command.push_str(&format!("--url {} ", quoted(url)));
    }
    if job_id.as_str().starts_with('-') {
        command.push_str("-- ");
    }
    command + &quoted(job_id.as_str())
}

/// One word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,".contains(character);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_calls_its_jobs_is_one_word() {
        for (id, shown) in [
            ("0198c2a6", "foreman wait 0198c2a6"),
            ("-a", "foreman wait -- -a"),
            ("a; reboot", "foreman wait 'a; reboot'"),
            ("$(a)'b", r"foreman wait '$(a)'\''b'"),
        ] {
            assert_eq!(command(None, &JobId::new(id).unwrap()), shown);
        }
        let job_id = JobId::new("7").unwrap();
        assert_eq!(command(Some("http://h:1/a"), &job_id), "foreman wait --url http://h:1/a 7");
        assert_eq!(command(Some("http://[::1]:1"), &job_id), "foreman wait --url 'http://[::1]:1' 7");
    }
}
