use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{HttpClient, client};
use super::error::BackendError;
use super::limits::BackendLimits;
use crate::{BaseUrl, BoxError, Error};

/// How much of a refusal is read.
const REFUSAL: usize = 64 << 10;

/// A model server: where it is, and what is borne with. Clones share its connections.
#[derive(Clone)]
pub(super) struct ModelServer {
    base: BaseUrl,
    client: HttpClient,
    bearer: Option<HeaderValue>,
    limits: BackendLimits,
}

impl ModelServer {
    pub(super) fn new(url: &str, bearer: Option<HeaderValue>, limits: BackendLimits) -> Result<Self, Error> {
        let limits = limits.checked()?;
        let base = BaseUrl::parse("url", url)?;
        let client = client(&base, limits.connect)?;
        Ok(Self { base, client, bearer, limits })
    }

    pub(super) fn base(&self) -> &str {
        self.base.as_str()
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, BoxError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, BoxError> {
        self.send(Method::POST, path, serde_json::to_vec(body)?.into()).await
    }

    /// Ends an attempt that takes longer than is allowed for all of it.
    pub(super) async fn within<T>(&self, attempt: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
        match self.limits.attempt {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| Err(BackendError::attempt(limit))),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, BoxError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let (limits, deadline) = (self.limits, Instant::now() + self.limits.first);
        let sending = self.client.request(request.body(Full::new(body))?);
        let response = match timeout_at(deadline, sending).await {
            Err(_) => return Err(BackendError::stalled(limits.first)),
            Ok(Err(error)) => return Err(unsent(error)),
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        let mut answer = Answer { body, limits, limit: limits.first, deadline, read: 0 };
        if head.status == StatusCode::OK {
            return Ok(answer);
        }
        answer.limits.answer = REFUSAL;
        // A refusal that cannot be read is one without a reason.
        let reason = answer.whole().await.unwrap_or_default();
        Err(BackendError::answered(head.status, &reason))
    }
}

fn unsent(error: hyper_util::client::legacy::Error) -> BoxError {
    if error.is_connect() { BackendError::connect(error.into()) } else { BackendError::broke(error.into()) }
}

impl fmt::Debug for ModelServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelServer").field("base", &self.base).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An answer whose body is being read.
pub(super) struct Answer {
    body: Incoming,
    limits: BackendLimits,
    limit: Duration,
    deadline: Instant,
    read: usize,
}

impl Answer {
    /// From now on the limit is the one between two parts.
    fn renew(&mut self) {
        self.limit = self.limits.stall;
        self.deadline = Instant::now() + self.limit;
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        loop {
            let frame =
                timeout_at(self.deadline, self.body.frame()).await.map_err(|_| BackendError::stalled(self.limit))?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(data) = frame.map_err(|error| BackendError::broke(error.into()))?.into_data() else { continue };
            self.read = self.read.saturating_add(data.len());
            if self.read > self.limits.answer {
                return Err(BackendError::too_large(self.limits.answer));
            }
            return Ok(Some(data));
        }
    }

    async fn whole(&mut self) -> Result<BytesMut, BoxError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
            self.renew();
        }
        Ok(whole)
    }

    pub(super) async fn json<T: DeserializeOwned>(mut self) -> Result<T, BoxError> {
        let whole = self.whole().await?;
        serde_json::from_slice(&whole).map_err(|error| BackendError::garbage_json("it is not the JSON expected", error))
    }

    pub(super) fn lines(self) -> Lines {
        Lines { answer: self, buffer: BytesMut::new(), looked: 0, began: false }
    }
}

/// The lines of an answer that comes bit by bit, without those that say nothing: empty ones, and comments of an event stream.
pub(super) struct Lines {
    answer: Answer,
    buffer: BytesMut,
    /// How much of the buffer is known to have no end of a line.
    looked: usize,
    began: bool,
}

impl Lines {
    /// The model speaks: what comes next has to come sooner than what came first.
    pub(super) fn began(&mut self) {
        self.began = true;
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.began {
            self.answer.renew();
        }
        loop {
            while let Some(end) = self.buffer[self.looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.looked + end + 1).freeze();
                self.looked = 0;
                if let Some(line) = telling(&line) {
                    return Ok(Some(line));
                }
            }
            self.looked = self.buffer.len();
            match self.answer.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    self.looked = 0;
                    return Ok(telling(&self.buffer.split().freeze()));
                }
            }
        }
    }
}

fn telling(line: &Bytes) -> Option<Bytes> {
    let line = line.slice_ref(line.trim_ascii());
    (!line.is_empty() && line[0] != b':').then_some(line)
}
