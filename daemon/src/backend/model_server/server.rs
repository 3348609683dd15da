use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{HttpClient, client};
use super::limits::BackendLimits;
use super::response::ServerResponse;
use crate::backend::error::BackendError;
use crate::{BaseUrl, BoxError, Error};

/// How much of an error response is read, in bytes.
const ERROR_BODY_LIMIT: usize = 64 << 10;

/// A model server: its address, and the limits of calls to it. Clones share connections.
#[derive(Clone)]
pub struct ModelServer {
    base: BaseUrl,
    client: HttpClient,
    authorization: Option<HeaderValue>,
    limits: BackendLimits,
}

impl ModelServer {
    pub(super) fn new(url: &str, authorization: Option<HeaderValue>, limits: BackendLimits) -> Result<Self, Error> {
        let limits = limits.checked()?;
        let base = BaseUrl::parse("url", url)?;
        let client = client(&base, limits.connect)?;
        Ok(Self { base, client, authorization, limits })
    }

    pub(super) fn url(&self) -> &BaseUrl {
        &self.base
    }

    pub(in crate::backend) fn base(&self) -> &str {
        self.base.as_str()
    }

    pub(in crate::backend) async fn get(&self, path: &str) -> Result<ServerResponse, BoxError> {
        self.send(Method::GET, self.uri(path), Bytes::new()).await
    }

    pub(in crate::backend) async fn post(&self, path: &str, body: &impl Serialize) -> Result<ServerResponse, BoxError> {
        self.send(Method::POST, self.uri(path), serde_json::to_vec(body)?.into()).await
    }

    /// What the server responds at this address. `None` if it does not offer it: it knows no such address, or responds with something else,
    /// as LM Studio does at each address that it does not know.
    pub(in crate::backend) async fn get_if_offered<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
    ) -> Result<Option<T>, BoxError> {
        match self.send(Method::GET, format!("{base}{path}"), Bytes::new()).await {
            Ok(response) => Ok(serde_json::from_slice(&response.collect().await?).ok()),
            Err(error) if BackendError::is_unknown_endpoint(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies the time limit of a whole attempt.
    pub(super) async fn limit_attempt<T>(
        &self,
        attempt: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        match self.limits.attempt {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| Err(BackendError::attempt_timeout(limit))),
        }
    }

    fn send_error(&self, error: hyper_util::client::legacy::Error) -> BoxError {
        if error.is_connect() {
            BackendError::connect(self.base.as_str(), error.into())
        } else {
            BackendError::disconnected(error.into())
        }
    }

    fn uri(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, method: Method, uri: String, body: Bytes) -> Result<ServerResponse, BoxError> {
        let mut request = Request::builder().method(method).uri(uri);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let (mut limits, deadline) = (self.limits, Instant::now() + self.limits.first);
        let sending = self.client.request(request.body(Full::new(body))?);
        let response = match timeout_at(deadline, sending).await {
            Err(_) => return Err(BackendError::stalled(limits.first)),
            Ok(Err(error)) => return Err(self.send_error(error)),
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(ServerResponse::new(body, limits, deadline));
        }
        limits.response = ERROR_BODY_LIMIT;
        // If the body cannot be read, the error has the status only.
        let body = ServerResponse::new(body, limits, deadline).collect().await.unwrap_or_default();
        let retry_after = foreman_protocol::retry_after(&head.headers, SystemTime::now());
        Err(BackendError::status(head.status, retry_after, &body))
    }
}

impl fmt::Debug for ModelServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelServer").field("base", &self.base).field("limits", &self.limits).finish_non_exhaustive()
    }
}
