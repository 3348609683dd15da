use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use super::failover::UntilLeft;
use super::{Api, HttpService};
use crate::error::Kind;
use crate::{BoxError, Error};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Opens the event stream of a daemon (`GET /events`, `text/event-stream`).
pub(crate) trait OpenEventStream: Send + Sync {
    /// Opens the stream with this name, after the event with this id.
    fn open(&self, name: &str, last_event_id: Option<&str>) -> OpeningEventStream;
}

pub(crate) type EventStreamBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) type OpeningEventStream = Pin<Box<dyn Future<Output = Result<EventStreamBody, NoEventStream>> + Send>>;

/// Why a stream was not opened.
#[derive(Debug)]
pub(crate) enum NoEventStream {
    /// The daemon has none.
    Unsupported,
    Failed(Error),
}

/// An [`Api`] that is cloned for each attempt. It is in a mutex, so that it need not be `Sync`.
struct OpenBy<T>(Mutex<Api<T>>);

impl<T> Api<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
{
    pub(crate) fn event_stream(self) -> Arc<dyn OpenEventStream> {
        Arc::new(OpenBy(Mutex::new(self)))
    }
}

impl<T> OpenEventStream for OpenBy<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
{
    fn open(&self, name: &str, last_event_id: Option<&str>) -> OpeningEventStream {
        let api = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = request(&api, name, last_event_id);
        Box::pin(async move {
            let request = request.map_err(NoEventStream::Failed)?;
            let response = api.into_http().oneshot(request).await;
            let response =
                response.map_err(|error: T::Error| NoEventStream::Failed(Error::from_boxed(error.into())))?;
            check(&response)?;
            let body = UntilLeft::new(response);
            let body = body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
            Ok(body.boxed_unsync())
        })
    }
}

fn request<T>(api: &Api<T>, name: &str, last_event_id: Option<&str>) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = api.get(&format!("/events?stream={name}"))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // An id that cannot be a header is not sent: the stream begins anew.
    if let Some(id) = last_event_id.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(LAST_EVENT_ID, id);
    }
    Ok(request)
}

/// Whether the response is an event stream. A 404, 405 or 406 is that of a daemon without one, and so is a page of a proxy.
fn check<B>(response: &Response<B>) -> Result<(), NoEventStream> {
    match response.status() {
        StatusCode::OK => {
            let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
            let is_stream = essence.trim().eq_ignore_ascii_case("text/event-stream");
            if is_stream { Ok(()) } else { Err(NoEventStream::Unsupported) }
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE => {
            Err(NoEventStream::Unsupported)
        }
        status => {
            let retry_after = foreman_protocol::retry_after(response.headers(), std::time::SystemTime::now());
            Err(NoEventStream::Failed(Error::new(Kind::Status { status, reason: None, retry_after })))
        }
    }
}
