use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::{App, Rejection};
use crate::owner::Owner;

/// The digests of the bearer tokens. Comparing digests takes the same time for any header value, whatever its length. If
/// there are none, requests need no token.
#[derive(Clone)]
pub(crate) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(crate) fn new(tokens: &[String]) -> Self {
        Self(tokens.iter().map(|token| Sha256::digest(token).into()).collect())
    }

    /// The digests, in an order that does not depend on that of the tokens.
    #[cfg(feature = "postgres")]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut digests = self.0.clone();
        digests.sort_unstable();
        digests.dedup();
        digests.concat()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, token: Option<&[u8]>) -> bool {
        let Some(token) = token else { return false };
        let given: [u8; 32] = Sha256::digest(token).into();
        // Compares all of them, so that the time does not reveal which one matched.
        self.0.iter().fold(Choice::from(0), |found, digest| found | digest.ct_eq(&given)).into()
    }

    /// The owner that a request acts for, by the token it presents; `None` if the request is not authorized.
    pub(super) fn owner(&self, token: Option<&[u8]>) -> Option<Owner> {
        if self.0.is_empty() {
            return Some(Owner::ANONYMOUS);
        }
        token.filter(|token| self.contains(Some(token))).map(Owner::from_token)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// Middleware: rejects a request without a valid token before reading anything else of it, and adds its [`Owner`] as an
/// extension.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let owner = app.tokens.owner(bearer(request.headers())).ok_or_else(unauthorized)?;
    request.extensions_mut().insert(owner);
    Ok(next.run(request).await)
}

pub(super) fn unauthorized() -> Rejection {
    Rejection::new(StatusCode::UNAUTHORIZED, "missing or unknown bearer token")
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// The bearer token of a request, if it has exactly one `Authorization` header and that has the scheme `Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: &[&str]) -> Tokens {
        Tokens::new(&tokens.iter().map(|&token| token.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_token_has_its_own_owner() {
        let tokens = tokens(&["one", "two", "three"]);
        let owners = [&b"one"[..], b"two", b"three"].map(|token| tokens.owner(Some(token)).unwrap());
        assert_eq!(owners, [Owner::from_token(b"one"), Owner::from_token(b"two"), Owner::from_token(b"three")]);
        assert!(owners[0] != owners[1] && owners[1] != owners[2] && owners[0] != owners[2]);
        for token in [None, Some(&b""[..]), Some(b"on"), Some(b"onetwo"), Some(b"One"), Some(b"four")] {
            assert_eq!(tokens.owner(token), None, "{token:?}");
        }
    }

    #[test]
    fn duplicate_token_is_one_owner() {
        assert_eq!(tokens(&["one", "one"]).owner(Some(b"one")), tokens(&["one"]).owner(Some(b"one")));
        assert_eq!(tokens(&["one", "one"]).owner(Some(b"two")), None);
    }

    #[test]
    fn without_tokens_every_request_is_anonymous() {
        assert_eq!(tokens(&[]).owner(None), Some(Owner::ANONYMOUS));
        assert_eq!(tokens(&[]).owner(Some(b"one")), Some(Owner::ANONYMOUS));
    }

    #[test]
    fn debug_output_hides_tokens() {
        assert_eq!(format!("{:?}", tokens(&["one", "two"])), "Tokens(2)");
    }
}
