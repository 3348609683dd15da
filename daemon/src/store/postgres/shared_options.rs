use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The options that the daemons of one queue should have in common, by the names of the builder's methods. Each daemon publishes its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SharedOptions(BTreeMap<String, String>);

impl SharedOptions {
    pub(crate) fn with(mut self, name: &str, value: &impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds a secret by two bytes of its digest. They show nearly every difference, and are too few to test guesses by.
    pub(crate) fn with_secret(self, name: &str, secret: impl AsRef<[u8]>) -> Self {
        let digest = Sha256::new().chain_update(name).chain_update([0]).chain_update(secret).finalize();
        let start: String = digest.iter().take(2).map(|byte| format!("{byte:02x}")).collect();
        self.with(name, &start)
    }

    /// The names of the options that have another value there. One that only one of them publishes is that of another version.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let differs = |(name, value): &(&String, &String)| other.0.get(*name).is_some_and(|other| other != *value);
        self.0.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_another_value_are_named_and_secrets_are_not_shown() {
        let one = SharedOptions::default().with("keep", &7).with("lease", &1).with_secret("token", "hush");
        let other = SharedOptions::default().with("keep", &8).with("new", &1).with_secret("token", "hush");
        assert_eq!(one.differences(&other), ["keep"]);
        assert_eq!(one.differences(&other.with_secret("token", "other")), ["keep", "token"]);
        assert_eq!(one.differences(&one), [""; 0]);
        let json = serde_json::to_string(&one).unwrap();
        assert!(
            json.starts_with(r#"{"keep":"7","lease":"1","token":""#) && json.ends_with("\"}") && json.len() == 39,
            "{json}"
        );
    }
}
