use std::num::{NonZeroU16, NonZeroU64};

use foreman_protocol::webhook::hex;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Identifies a submission in the webhook registry, and the secrets that its events are signed with: so a late event is verified as an
/// earlier one was, long after the submission is forgotten. There is one for each waiting job, so it is small, and an `Option` of it
/// takes no further space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenId(NonZeroU64);

/// Makes and reads callback tokens: the last segments of callback URLs.
///
/// A token is the id of a submission and a MAC of it. The MAC proves that this registry made the token, also long after the submission
/// is over and forgotten: a late event gets a 204, and a forged one a 404, without memory for either.
#[derive(Clone)]
pub(crate) struct TokenKey(Hmac<Sha256>);

/// The length of each part of a token, in bytes. A byte is two hexadecimal digits.
const ID: usize = 8;
const MAC: usize = 16;

/// How many bits of an id are random. Above them is the number of the secrets.
const RANDOM_BITS: u32 = 48;

impl TokenId {
    /// `secrets`: the number of the secrets of its client. `None` for those of the receiver.
    ///
    /// It need not be secret: the MAC of the token is what nobody can guess.
    pub(crate) fn random(secrets: Option<NonZeroU16>) -> Self {
        let random = fastrand::u64(1..1 << RANDOM_BITS);
        let secrets = u64::from(secrets.map_or(0, NonZeroU16::get)) << RANDOM_BITS;
        Self(NonZeroU64::new(secrets | random).unwrap_or(NonZeroU64::MIN))
    }

    /// The number of the secrets of its client.
    pub(crate) fn secrets(self) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::try_from(self.0.get() >> RANDOM_BITS).unwrap_or_default())
    }
}

impl TokenKey {
    /// # Errors
    ///
    /// When the operating system has no random bytes.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self(Hmac::new(&key.into())))
    }

    /// `prefix` and the token.
    pub(crate) fn token(&self, prefix: &[&str], id: TokenId) -> String {
        let mac = self.keyed(id).finalize().into_bytes();
        let mut token = Vec::with_capacity(prefix.iter().map(|part| part.len()).sum::<usize>() + 2 * (ID + MAC));
        for part in prefix {
            token.extend_from_slice(part.as_bytes());
        }
        hex::encode_to(&mut token, &id.0.get().to_be_bytes());
        hex::encode_to(&mut token, &mac[..MAC]);
        String::from_utf8(token).unwrap_or_default()
    }

    /// Reads the spelling that [`token`](Self::token) writes and no other.
    pub(crate) fn read(&self, token: &str) -> Option<TokenId> {
        let bytes: [u8; ID + MAC] = hex::decode(token.as_bytes())?;
        let (id, mac) = bytes.split_first_chunk()?;
        let id = TokenId(NonZeroU64::new(u64::from_be_bytes(*id))?);
        // In constant time, so that a forger does not learn how much of a guess is right.
        self.keyed(id).verify_truncated_left(mac).ok()?;
        Some(id)
    }

    fn keyed(&self, id: TokenId) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&id.0.get().to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_tokens_that_it_made() {
        let (key, other) = (TokenKey::random().unwrap(), TokenKey::random().unwrap());
        let id = TokenId::random(None);
        let token = key.token(&[], id);
        assert_eq!((token.len(), key.read(&token), other.read(&token)), (48, Some(id), None));
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.read(std::str::from_utf8(&forged).unwrap()), None, "digit {at}");
        }
        let zero = "0".repeat(48);
        for other in
            ["", "abc", &token.to_uppercase(), &token[1..], &format!("{token}0"), &format!("+{}", &token[1..]), &zero]
        {
            // A token without letters is the same in upper case.
            assert_eq!(key.read(other), (other == token).then_some(id), "{other}");
        }
        assert_eq!(size_of::<Option<TokenId>>(), 8);
    }

    #[test]
    fn token_has_the_number_of_its_secrets() {
        let key = TokenKey::random().unwrap();
        for secrets in [None, NonZeroU16::new(1), Some(NonZeroU16::MAX)] {
            let token = key.token(&[], TokenId::random(secrets));
            assert_eq!(key.read(&token).unwrap().secrets(), secrets);
        }
    }
}
