use std::fmt;

use sha2::{Digest as _, Sha256};

/// Domain separation: the digest differs from the one that authenticates tokens.
const DOMAIN: &[u8] = b"foreman: the owner of a job\0";

/// The owner of a job: a digest of the token that submitted it, separate from the digest used for authentication. The store
/// contains no usable credential. A token has the same owner in every daemon and version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owner([u8; 16]);

impl Owner {
    /// The owner of all jobs of a daemon without tokens.
    pub(crate) const ANONYMOUS: Self = Self([0; 16]);

    pub(crate) fn from_token(token: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(DOMAIN).chain_update(token).finalize().into();
        Self(std::array::from_fn(|byte| digest[byte]))
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files contain the digest: a change would hide their jobs.
    #[test]
    fn owner_of_a_token_never_changes() {
        let hex = |owner: Owner| owner.0.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(Owner::from_token(b"secret")), "7fb2e778e6a19ac0b670da0186cd12aa");
        assert_ne!(Owner::from_token(b"secret"), Owner::from_token(b"secret2"));
        assert_ne!(Owner::from_token(b""), Owner::ANONYMOUS);
    }

    #[test]
    fn owner_differs_from_authentication_digest() {
        assert_ne!(Owner::from_token(b"secret").0[..], Sha256::digest(b"secret")[..16]);
        assert_eq!(format!("{:?}", Owner::from_token(b"secret")), "Owner(..)");
    }
}
