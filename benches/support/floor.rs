//! The least that a client can do: connections that stay open, a raw server for the events, the same HMAC, a map of channels, the result
//! parsed. No timeouts, no limits, no retries, no polls.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foreman_client::{BoxError, JobStatus, SubmitRequest};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::SECRET;
use super::daemon::connect;

const SHARDS: usize = 16;

#[derive(Clone)]
pub(crate) struct Floor(Arc<Shared>);

struct Shared {
    daemon: String,
    callback: String,
    hmac: Hmac<Sha256>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    waits: [Mutex<HashMap<u128, oneshot::Sender<JobStatus>>>; SHARDS],
    /// A permit for each submission that the daemon has accepted.
    accepted: Semaphore,
}

#[derive(Deserialize)]
struct Accepted {
    job_id: String,
}

impl Floor {
    pub(crate) async fn start(url: &str) -> Result<Self, BoxError> {
        let daemon = url.parse::<Uri>()?.authority().ok_or("no authority")?.to_string();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let callback = format!("http://{}", listener.local_addr()?);
        let hmac = Hmac::new_from_slice(SECRET.as_bytes())?;
        let (idle, waits, accepted) = (Mutex::default(), Default::default(), Semaphore::new(0));
        let floor = Self(Arc::new(Shared { daemon, callback, hmac, idle, waits, accepted }));
        let server = floor.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let _ = stream.set_nodelay(true);
                let floor = server.clone();
                let service = service_fn(move |request| {
                    let floor = floor.clone();
                    async move { Ok::<_, Infallible>(floor.event(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(floor)
    }

    async fn event(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let signature =
            head.headers.get("x-foreman-signature").and_then(|value| value.as_bytes().strip_prefix(b"sha256="));
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(signature.expect("a signature").chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hexadecimal");
        }
        let mut hmac = self.0.hmac.clone();
        hmac.update(&body);
        hmac.verify_slice(&bytes).expect("a valid signature");
        let status: JobStatus = serde_json::from_slice(&body).expect("a job");
        let nonce = u128::from_str_radix(&head.uri.path()[1..], 16).expect("a nonce");
        if let Some(wait) = self.shard(nonce).lock().expect("no panic").remove(&nonce) {
            let _ = wait.send(status);
        }
        let mut response = Response::new(Empty::new());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        response
    }

    fn shard(&self, nonce: u128) -> &Mutex<HashMap<u128, oneshot::Sender<JobStatus>>> {
        &self.0.waits[usize::from(nonce.to_le_bytes()[0]) % SHARDS]
    }

    /// Waits until the daemon has accepted one more submission.
    pub(crate) async fn accepted(&self) {
        self.0.accepted.acquire().await.expect("the semaphore stays open").forget();
    }

    pub(crate) async fn job(&self) -> Result<(), BoxError> {
        // In a box, and with an id of its own instead of one in the buffer of the connection, so that a waiting job is small.
        let (id, result) = Box::pin(self.submit()).await?;
        let status = result.await?;
        if status.job_id.as_str() == id { Ok(()) } else { Err("another job".into()) }
    }

    async fn submit(&self) -> Result<(String, oneshot::Receiver<JobStatus>), BoxError> {
        // The conversation is written by the same code, which is not what is compared.
        let body = SubmitRequest::builder("m").user("Why is the sky blue?").build()?.body();
        let nonce = fastrand::u128(..);
        let (send, result) = oneshot::channel();
        self.shard(nonce).lock().expect("no panic").insert(nonce, send);
        let mut with_url = Vec::with_capacity(body.len() + 100);
        with_url.extend_from_slice(&body[..body.len() - 1]);
        with_url.extend_from_slice(format!(r#","state_webhook_url":"{}/{nonce:032x}"}}"#, self.0.callback).as_bytes());
        let idle = self.0.idle.lock().expect("no panic").pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.0.daemon).await?,
        };
        let request = Request::post("/jobs")
            .header("host", &*self.0.daemon)
            .header("content-type", "application/json")
            .body(Full::from(with_url))?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        self.0.idle.lock().expect("no panic").push(connection);
        let accepted: Accepted = serde_json::from_slice(&body)?;
        self.0.accepted.add_permits(1);
        Ok((accepted.job_id, result))
    }
}
