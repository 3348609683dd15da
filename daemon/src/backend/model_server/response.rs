use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::limits::BackendLimits;
use super::lines::Lines;
use crate::BoxError;
use crate::backend::error::BackendError;

/// A response of a model server with status 200, whose body is read under the limits.
pub(in crate::backend) struct ServerResponse {
    body: Incoming,
    limits: BackendLimits,
    /// The time limit in effect, and when it ends.
    limit: Duration,
    deadline: Instant,
    /// In bytes.
    read: usize,
}

impl ServerResponse {
    /// `deadline` is that of the first part.
    pub(super) fn new(body: Incoming, limits: BackendLimits, deadline: Instant) -> Self {
        Self { body, limits, limit: limits.first, deadline, read: 0 }
    }

    /// Starts the time limit of a further part.
    pub(super) fn restart_stall_timer(&mut self) {
        self.limit = self.limits.stall;
        self.deadline = Instant::now() + self.limit;
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        loop {
            let frame =
                timeout_at(self.deadline, self.body.frame()).await.map_err(|_| BackendError::stalled(self.limit))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| BackendError::disconnected(error.into()))?;
            let Ok(data) = frame.into_data() else { continue };
            self.read = self.read.saturating_add(data.len());
            if self.read > self.limits.response {
                return Err(BackendError::too_large(self.limits.response));
            }
            return Ok(Some(data));
        }
    }

    pub(super) async fn collect(mut self) -> Result<BytesMut, BoxError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
            self.restart_stall_timer();
        }
        Ok(body)
    }

    pub(in crate::backend) async fn json<T: DeserializeOwned>(self) -> Result<T, BoxError> {
        let body = self.collect().await?;
        serde_json::from_slice(&body).map_err(|error| BackendError::invalid_json("unexpected JSON", error))
    }

    pub(in crate::backend) fn lines(self) -> Lines {
        Lines::new(self)
    }
}
