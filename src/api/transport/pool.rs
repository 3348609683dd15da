use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceExt as _};

use super::IDLE;
use crate::api::BaseUrl;
use crate::error::Kind;
use crate::{BoxError, Error};

/// The HTTP/1.1 connections to one origin, without TLS.
///
/// A connection is here from the head of a response on. hyper reports it as ready when the body has ended, and as closed if the body is
/// dropped before that. The one that was used last is the next, so that those above the need become idle and are closed.
#[derive(Debug)]
pub(super) struct Pool<C> {
    connector: C,
    /// Scheme and authority are taken from it.
    origin: Uri,
    host: HeaderValue,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    /// In the order of their last use.
    open: Vec<Open>,
    /// Closes those that are idle for too long, while there are any.
    reaper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    used: Instant,
}

/// What opens a connection.
pub(super) trait Connect:
    Service<Uri, Response: Read + Write + Unpin + Send + 'static, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> Connect for C
where
    C: Service<Uri, Response: Read + Write + Unpin + Send + 'static, Error: Into<BoxError>, Future: Send>,
    C: Clone + Send + Sync + 'static,
{
}

impl<C: Connect> Pool<C> {
    pub(super) fn new(connector: C, base: &BaseUrl) -> Result<Arc<Self>, Error> {
        let invalid = |error: http::Error| Error::invalid("base_url", "is not a URL").with_source(error);
        let host = match base.port() {
            80 => base.host().to_owned(),
            port => format!("{}:{port}", base.host()),
        };
        Ok(Arc::new(Self {
            connector,
            origin: base.endpoint("/".into()).map_err(invalid)?,
            host: HeaderValue::try_from(host).map_err(|error| invalid(error.into()))?,
            connections: Mutex::default(),
        }))
    }

    /// Whether the request is to the origin of this pool.
    pub(super) fn serves(&self, request: &Request<Full<Bytes>>) -> bool {
        let (ours, theirs) = (&self.origin, request.uri());
        // As text, which is faster than without regard to case. A request that it misses has another way.
        ours.scheme() == theirs.scheme()
            && ours.authority().map(Authority::as_str) == theirs.authority().map(Authority::as_str)
    }

    /// Sends a request to the origin, over a connection that is idle or a new one.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, BoxError> {
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = path.into();
        }
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        // The server may close an idle connection at any time. hyper returns a request of which it has not written a byte.
        while let Some(mut sender) = self.take() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.put(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        // In a box because few requests need it.
        let mut sender = Box::pin(self.connect()).await?;
        let response = sender.send_request(request).await?;
        self.put(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let failed = |error: BoxError| Error::new(Kind::Connect).with_source(error);
        let connecting = self.connector.clone().oneshot(self.origin.clone());
        let io = connecting.await.map_err(|error| failed(error.into()))?;
        let (sender, connection) = handshake(io).await.map_err(|error| failed(error.into()))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The connection that was used last, among those that are ready for a request.
    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let open = &mut self.lock().open;
        match open.iter().rposition(|open| open.sender.is_ready()) {
            Some(last) => Some(open.remove(last).sender),
            None => {
                open.retain(|open| !open.sender.is_closed());
                None
            }
        }
    }

    /// The head of a response has come.
    fn put(self: &Arc<Self>, sender: SendRequest<Full<Bytes>>) {
        let mut connections = self.lock();
        connections.open.push(Open { sender, used: Instant::now() });
        // A reaper whose runtime is gone has finished.
        if connections.reaper.as_ref().is_none_or(JoinHandle::is_finished) {
            connections.reaper = Some(tokio::spawn(reap(Arc::downgrade(self), IDLE)));
        }
    }

    /// Closes what is idle since `IDLE`. Returns when to look again, or `None` when no connection is left.
    fn close_idle(&self, idle: Duration) -> Option<Instant> {
        let mut connections = self.lock();
        let now = Instant::now();
        // One that is neither ready nor closed has a body in flight.
        connections.open.retain(|open| match open.sender.is_ready() {
            true => now.duration_since(open.used) < idle,
            false => !open.sender.is_closed(),
        });
        match connections.open.first() {
            Some(oldest) => Some((oldest.used + idle).max(now + idle / 15)),
            None => {
                connections.reaper = None;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections as long as there are any.
fn reap<C: Connect>(pool: Weak<Pool<C>>, idle: Duration) -> impl Future<Output = ()> {
    let first = Instant::now() + idle;
    async move {
        let mut next = Some(first);
        while let Some(at) = next {
            sleep_until(at).await;
            next = pool.upgrade().and_then(|pool| pool.close_idle(idle));
        }
    }
}

impl<C> Drop for Pool<C> {
    fn drop(&mut self) {
        let connections = self.connections.get_mut().unwrap_or_else(PoisonError::into_inner);
        connections.reaper.take().inspect(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests;
