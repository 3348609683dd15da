use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The value of the column `key`: 16 bytes of a UUID, or 32 bytes of the SHA-256 of any other key.
///
/// Time-ordered keys, such as UUIDs of version 7, are added at the end of the index, at the same cost however many keys there
/// are. Random keys change one page each.
pub(super) fn key_column(key: &[u8]) -> Vec<u8> {
    let uuid = Uuid::try_parse_ascii(key).ok();
    // Only in the canonical spelling, since a UUID's bytes do not say how it was spelled.
    let uuid = uuid.filter(|uuid| uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes() == key);
    uuid.map_or_else(|| Sha256::digest(key).to_vec(), |uuid| uuid.into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_column_is_unique_and_keeps_time_order() {
        let uuid = "0199d2a0-5c1e-7b3f-8a4d-0123456789ab";
        let spellings = [uuid, &uuid.to_uppercase(), &uuid.replace('-', ""), &format!("{{{uuid}}}"), "k", ""];
        let lengths = spellings.map(|key| key_column(key.as_bytes()).len());
        assert_eq!(lengths, [16, 32, 32, 32, 32, 32]);
        for (one, key) in spellings.iter().enumerate() {
            assert!(
                spellings[..one].iter().all(|other| key_column(other.as_bytes()) != key_column(key.as_bytes())),
                "{key}"
            );
        }
        assert!(key_column(uuid.as_bytes()) < key_column(b"0199d2a0-5c1f-7000-8000-000000000000"));
    }
}
