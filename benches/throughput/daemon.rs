//! A daemon of raw hyper that costs little, so that the client is what is measured. It has idempotency keys, signs its events, and keeps
//! its connections open.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::BoxError;
use foreman_client::webhook::Secret;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::SECRET;
use crate::process::pin;

/// The answer of a model, some 1.5 KB with the rest of the job.
const CONTENT_BYTES: usize = 1_200;

#[derive(Clone)]
struct Daemon(Arc<Shared>);

struct Shared {
    work: Duration,
    event_first: bool,
    secret: Secret,
    /// When each job ends.
    jobs: Mutex<HashMap<String, Instant>>,
    last: Mutex<u64>,
    /// Idle connections to the receivers.
    idle: Mutex<Vec<(String, SendRequest<Full<Bytes>>)>>,
    done: String,
}

#[derive(Deserialize)]
struct Submission {
    state_webhook_url: Option<String>,
}

pub(crate) fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(2);
    let work = Duration::from_millis(arguments.next().ok_or("no duration")?.parse()?);
    let event_first = arguments.next().ok_or("no order")?.parse()?;
    pin(1);
    let daemon = Daemon(Arc::new(Shared {
        work,
        event_first,
        secret: Secret::new(SECRET)?,
        jobs: Mutex::default(),
        last: Mutex::new(0),
        idle: Mutex::default(),
        done: format!(
            r#","state":"done","model":"m","created_at":"2026-01-01T00:00:00Z","attempt":1,"result":{{"model":"m","message":{{"role":"assistant","content":"{}"}},"done":true}},"error":null,"artifacts":[]}}"#,
            "sky ".repeat(CONTENT_BYTES / 4)
        ),
    }));
    // The parent has gone if its end of the pipe is closed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(daemon.serve())
}

impl Daemon {
    async fn serve(self) -> Result<(), BoxError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let daemon = self.clone();
            let service = service_fn(move |request| {
                let daemon = daemon.clone();
                async move { Ok::<_, Infallible>(daemon.respond(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() == Method::GET {
            let id = request.uri().path().rsplit('/').next().unwrap_or_default();
            let ends = self.0.jobs.lock().expect("no panic").get(id).copied();
            let body = if ends.is_some_and(|ends| ends <= Instant::now()) {
                self.done(id)
            } else {
                format!(r#"{{"job_id":"{id}","state":"running","model":"m","attempt":1}}"#)
            };
            return Response::new(Full::from(body));
        }
        let key = request.headers().get("idempotency-key").cloned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let submission: Submission = serde_json::from_slice(&body).expect("a submission");
        let id = {
            let mut last = self.0.last.lock().expect("no panic");
            *last += 1;
            last.to_string()
        };
        self.0.jobs.lock().expect("no panic").insert(id.clone(), Instant::now() + self.0.work);
        if let Some(url) = submission.state_webhook_url {
            let (daemon, id) = (self.clone(), id.clone());
            let end = async move {
                if !daemon.0.work.is_zero() {
                    sleep(daemon.0.work).await;
                }
                daemon.send(&url, daemon.done(&id)).await.expect("the event is delivered");
            };
            if self.0.event_first { end.await } else { drop(tokio::spawn(end)) }
        }
        let mut response = Response::new(Full::from(format!(r#"{{"job_id":"{id}"}}"#)));
        *response.status_mut() = http::StatusCode::ACCEPTED;
        if let Some(key) = key {
            response.headers_mut().insert("idempotency-key", key);
        }
        response
    }

    fn done(&self, id: &str) -> String {
        format!(r#"{{"job_id":"{id}"{}"#, self.0.done)
    }

    async fn send(&self, url: &str, body: String) -> Result<(), BoxError> {
        let url: Uri = url.parse()?;
        let authority = url.authority().ok_or("no authority")?.as_str();
        let idle = {
            let mut idle = self.0.idle.lock().expect("no panic");
            let at = idle.iter().rposition(|(host, _)| host == authority);
            at.map(|at| idle.swap_remove(at).1)
        };
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(authority).await?,
        };
        let request = Request::post(url.path())
            .header("host", authority)
            .header("content-type", "application/json")
            .header("x-foreman-signature", self.0.secret.sign(body.as_bytes()))
            .body(Full::from(body))?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        if response.status() != 204 {
            return Err(format!("the receiver returned {}", response.status()).into());
        }
        response.into_body().collect().await?;
        if !connection.is_closed() {
            self.0.idle.lock().expect("no panic").push((authority.to_owned(), connection));
        }
        Ok(())
    }
}

pub(crate) async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(connection)
}
