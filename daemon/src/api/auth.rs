use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::{App, Rejection};
use crate::owner::Owner;

/// The bearer tokens, as their digests: comparing digests takes the same time whatever was sent, its length included.
/// Without any, nobody needs one.
#[derive(Clone)]
pub(crate) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(crate) fn new(tokens: &[String]) -> Self {
        Self(tokens.iter().map(|token| Sha256::digest(token).into()).collect())
    }

    /// Whose a request is that shows this; `None` if it may not ask.
    fn owner(&self, shown: Option<&[u8]>) -> Option<Owner> {
        if self.0.is_empty() {
            return Some(Owner::ANONYMOUS);
        }
        let shown = shown?;
        let given: [u8; 32] = Sha256::digest(shown).into();
        // All of them, so that the time does not tell which one it is.
        let found = self.0.iter().fold(Choice::from(0), |found, token| found | token.ct_eq(&given));
        bool::from(found).then(|| Owner::from_token(shown))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// Lets through who shows a token, before anything else of the request is looked at, and notes whose the request is.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let owner = app.tokens.owner(shown(request.headers())).ok_or_else(|| {
        Rejection::new(StatusCode::UNAUTHORIZED, "a bearer token is needed, and this is none of ours")
            .with(header::WWW_AUTHENTICATE, "Bearer")
    })?;
    request.extensions_mut().insert(owner);
    Ok(next.run(request).await)
}

/// The token of a request with exactly one `Authorization`, of the scheme `Bearer`.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
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
    fn each_token_is_an_owner_of_its_own() {
        let tokens = tokens(&["one", "two", "three"]);
        let owners = [&b"one"[..], b"two", b"three"].map(|shown| tokens.owner(Some(shown)).unwrap());
        assert_eq!(owners, [Owner::from_token(b"one"), Owner::from_token(b"two"), Owner::from_token(b"three")]);
        assert!(owners[0] != owners[1] && owners[1] != owners[2] && owners[0] != owners[2]);
        for shown in [None, Some(&b""[..]), Some(b"on"), Some(b"onetwo"), Some(b"One"), Some(b"four")] {
            assert_eq!(tokens.owner(shown), None, "{shown:?}");
        }
    }

    #[test]
    fn a_token_said_twice_is_one() {
        assert_eq!(tokens(&["one", "one"]).owner(Some(b"one")), tokens(&["one"]).owner(Some(b"one")));
        assert_eq!(tokens(&["one", "one"]).owner(Some(b"two")), None);
    }

    #[test]
    fn without_tokens_everybody_is_the_same_owner_whatever_they_show() {
        assert_eq!(tokens(&[]).owner(None), Some(Owner::ANONYMOUS));
        assert_eq!(tokens(&[]).owner(Some(b"one")), Some(Owner::ANONYMOUS));
    }

    #[test]
    fn neither_tokens_nor_digests_are_printed() {
        assert_eq!(format!("{:?}", tokens(&["one", "two"])), "Tokens(2)");
    }
}
