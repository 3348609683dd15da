use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{App, Refused};

/// The bearer token, as its digest: comparing digests takes the same time whatever was sent, its length included.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, token: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        self.0.ct_eq(&given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Lets through who shows the token, before anything else of the request is looked at.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Refused> {
    match &app.token {
        Some(token) if !shown(request.headers()).is_some_and(|shown| token.is(shown)) => {
            Err(Refused::new(StatusCode::UNAUTHORIZED, "a bearer token is needed, and this is none of ours")
                .with(header::WWW_AUTHENTICATE, "Bearer"))
        }
        _ => Ok(next.run(request).await),
    }
}

/// The token of a request with exactly one `Authorization`, of the scheme `Bearer`.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
