//! A daemon of raw hyper that costs little, so that the client is what is measured. It has idempotency keys, signs its events, and keeps
//! its connections open. A job takes a fixed time, or lasts until the parent process orders the end of all jobs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foreman_client::BoxError;
use foreman_client::webhook::Secret;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::SECRET;
use super::process::{DaemonOptions, finish_orders, pin};

/// The answer of a model, some 1.5 KB with the rest of the job.
const CONTENT_BYTES: usize = 1_200;

/// How many events are under way at once when all jobs are ended.
const FINISHING: usize = 64;

#[derive(Clone)]
struct Daemon(Arc<Shared>);

struct Shared {
    options: DaemonOptions,
    /// For each job that runs at the same time as others.
    workers: Semaphore,
    secret: Secret,
    /// When each job ends, as far as that is known.
    jobs: Mutex<HashMap<String, Option<Instant>>>,
    /// The jobs that last until they are ended, with their callback URLs.
    held: Mutex<Vec<(String, String)>>,
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
    let options = DaemonOptions::from_arguments(std::env::args().skip(2))?;
    pin(1);
    let daemon = Daemon(Arc::new(Shared {
        workers: Semaphore::new(options.workers),
        options,
        secret: Secret::new(SECRET)?,
        jobs: Mutex::default(),
        held: Mutex::default(),
        last: Mutex::new(0),
        idle: Mutex::default(),
        done: format!(
            r#","state":"done","model":"m","created_at":"2026-01-01T00:00:00Z","attempt":1,"result":{{"model":"m","message":{{"role":"assistant","content":"{}"}},"done":true}},"error":null,"artifacts":[]}}"#,
            "sky ".repeat(CONTENT_BYTES / 4)
        ),
    }));
    let mut orders = finish_orders();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let finisher = daemon.clone();
        tokio::spawn(async move {
            while orders.recv().await.is_some() {
                finisher.finish();
            }
        });
        daemon.serve().await
    })
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
            let ends = self.0.jobs.lock().expect("no panic").get(id).copied().flatten();
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
        let options = self.0.options;
        let ends =
            (!options.held && options.workers == DaemonOptions::UNLIMITED).then(|| Instant::now() + options.work());
        self.0.jobs.lock().expect("no panic").insert(id.clone(), ends);
        if options.held {
            let url = submission.state_webhook_url;
            self.0.held.lock().expect("no panic").extend(url.map(|url| (id.clone(), url)));
        } else if let Some(url) = submission.state_webhook_url {
            let (daemon, id) = (self.clone(), id.clone());
            let end = async move {
                daemon.run().await;
                if options.workers != DaemonOptions::UNLIMITED {
                    daemon.0.jobs.lock().expect("no panic").insert(id.clone(), Some(Instant::now()));
                }
                let status = daemon.send(&url, daemon.done(&id)).await.expect("the event is delivered");
                assert_eq!(status, 204, "the event is accepted");
            };
            if options.event_first { end.await } else { drop(tokio::spawn(end)) }
        }
        let mut response = Response::new(Full::from(format!(r#"{{"job_id":"{id}"}}"#)));
        *response.status_mut() = StatusCode::ACCEPTED;
        if let Some(key) = key {
            response.headers_mut().insert("idempotency-key", key);
        }
        response
    }

    /// Does the work of a job, when a worker is free.
    async fn run(&self) {
        let _worker = self.0.workers.acquire().await.expect("the semaphore stays open");
        if !self.0.options.work().is_zero() {
            sleep(self.0.options.work()).await;
        }
    }

    /// Ends all jobs that are held. Events whose jobs nobody waits for are refused, which is no error.
    fn finish(&self) {
        let held = std::mem::take(&mut *self.0.held.lock().expect("no panic"));
        for ends in self.0.jobs.lock().expect("no panic").values_mut() {
            ends.get_or_insert_with(Instant::now);
        }
        let held = Arc::new(Mutex::new(held.into_iter()));
        for _ in 0..FINISHING {
            let (daemon, held) = (self.clone(), Arc::clone(&held));
            tokio::spawn(async move {
                loop {
                    let Some((id, url)) = held.lock().expect("no panic").next() else { break };
                    let mut sent = daemon.send(&url, daemon.done(&id)).await;
                    // The receiver may have closed the connection at that moment.
                    if sent.is_err() {
                        sent = daemon.send(&url, daemon.done(&id)).await;
                    }
                    if let Err(error) = sent {
                        eprintln!("an event was not delivered: {error}");
                    }
                }
            });
        }
    }

    fn done(&self, id: &str) -> String {
        format!(r#"{{"job_id":"{id}"{}"#, self.0.done)
    }

    /// An idle connection to `authority`. The receiver closes those that are idle for long.
    fn idle(&self, authority: &str) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.0.idle.lock().expect("no panic");
        while let Some(at) = idle.iter().rposition(|(host, _)| host == authority) {
            let (_, connection) = idle.swap_remove(at);
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn send(&self, url: &str, body: String) -> Result<StatusCode, BoxError> {
        let url: Uri = url.parse()?;
        let authority = url.authority().ok_or("no authority")?.as_str();
        let idle = self.idle(authority);
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
        let status = response.status();
        response.into_body().collect().await?;
        if !connection.is_closed() {
            self.0.idle.lock().expect("no panic").push((authority.to_owned(), connection));
        }
        Ok(status)
    }
}

pub(crate) async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(connection)
}
