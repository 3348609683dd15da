use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError};

use foreman_protocol::webhook::Secret;

use crate::Error;
use crate::sync::Mutex;

/// The secrets of the clients that share a registry, each list under a number. A token carries the number, so that the event of a
/// submission is verified with the secrets of its own daemon, also after submission and client are gone.
///
/// Clients with equal secrets have one number, and a list is never removed: the memory is bounded by the number of different lists that
/// the process was configured with.
#[derive(Debug, Default)]
pub(super) struct ClientSecrets(Mutex<Vec<Arc<[Secret]>>>);

impl ClientSecrets {
    /// # Errors
    ///
    /// When there are 65,535 different lists.
    pub(super) fn add(&self, secrets: Vec<Secret>) -> Result<NonZeroU16, Error> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lists.iter().position(|list| are_equal(list, &secrets)).unwrap_or(lists.len());
        let number = u16::try_from(at + 1).ok().and_then(NonZeroU16::new);
        let number = number
            .ok_or_else(|| Error::invalid("webhook_secret", "must not have more than 65535 values at one notifier"))?;
        if at == lists.len() {
            lists.push(secrets.into());
        }
        Ok(number)
    }

    pub(super) fn get(&self, number: NonZeroU16) -> Option<Arc<[Secret]>> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(usize::from(number.get()) - 1).cloned()
    }
}

/// Whether the secrets sign alike, in this order. A secret does not reveal its text.
fn are_equal(one: &[Secret], other: &[Secret]) -> bool {
    let sign_alike = |one: &Secret, other: &Secret| {
        one.foreman_signature(b"").matches(&other.foreman_signature(b""))
            && one.standard_signature(b"", b"", b"").matches(&other.standard_signature(b"", b"", b""))
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| sign_alike(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_have_one_number() {
        let secrets = ClientSecrets::default();
        let mut add =
            |texts: &[&str]| secrets.add(texts.iter().map(|text| Secret::new(text).unwrap()).collect()).unwrap().get();
        let lists: [&[&str]; 6] = [&["a"], &["b"], &["a", "b"], &["b", "a"], &["whsec_YQ=="], &["a"]];
        assert_eq!(lists.map(&mut add), [1, 2, 3, 4, 5, 1]);
        assert_eq!(secrets.get(NonZeroU16::new(3).unwrap()).unwrap().len(), 2);
        assert!(secrets.get(NonZeroU16::new(6).unwrap()).is_none());
    }

    #[test]
    fn number_of_lists_is_bounded() {
        let secrets = ClientSecrets::default();
        let filler: Arc<[Secret]> = Arc::new([]);
        *secrets.0.lock().unwrap() = vec![filler; usize::from(u16::MAX)];
        let error = secrets.add(vec![Secret::new("a").unwrap()]).unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("webhook_secret"), "{error}");
    }
}
