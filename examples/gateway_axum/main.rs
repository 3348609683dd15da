//! A gateway written with axum. `POST /chat` waits for a job and returns its result, `POST
//! /chat/events` streams its states as server-sent events, and `GET /jobs/{id}` waits for a job
//! again.
//!
//! `cargo run --example gateway_axum` starts a daemon and the gateway, calls it, and ends. With
//! `FOREMAN_URL` (and optionally `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) it uses that
//! daemon and the first model that it lists. With `GATEWAY_LISTEN`, such as `127.0.0.1:3000`, it
//! serves there until Ctrl-C. `GATEWAY_URL` is the URL by which the daemon reaches it, if that is
//! another address.
//!
//! The gateway is in `gateway.rs`.

#[path = "../common/daemon.rs"]
mod daemon;
mod gateway;

use std::env::var;

use foreman_client::BoxError;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use self::daemon::{ExampleDaemon, first_model};
use self::gateway::{Gateway, Settings};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let daemon = ExampleDaemon::start().await?;
    let mut settings = Settings::new(daemon.client());
    settings.webhook_secret = Some(daemon.secret.clone());
    settings.public_url = var("GATEWAY_URL").ok();

    if let Ok(listen) = var("GATEWAY_LISTEN") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).init();
        settings.listen = listen.parse()?;
        let gateway = Gateway::start(settings).await?;
        println!("listening at http://{}", gateway.address);
        tokio::signal::ctrl_c().await?;
        gateway.shutdown().await?;
    } else {
        let gateway = Gateway::start(settings).await?;
        let model = first_model(&gateway.client).await?;
        call(&format!("http://{}", gateway.address), &model).await?;
        gateway.shutdown().await?;
    }
    daemon.shutdown().await;
    Ok(())
}

/// Calls each route as a caller does, and asserts the responses.
async fn call(gateway: &str, model: &str) -> Result<(), BoxError> {
    let message = json!({ "role": "user", "content": "Why is the sky blue?" });
    let chat = json!({ "model": model, "messages": [message] });

    println!("POST /chat");
    let (head, body) = exchange(post(&format!("{gateway}/chat"), &chat)?).await?;
    assert_eq!(head.status(), 200, "{body}");
    let first: Value = serde_json::from_str(&body)?;
    let id = head.headers().get("foreman-job-id").ok_or("the response has no job id")?.to_str()?;
    assert!(first["message"]["content"].is_string(), "{first}");
    println!("  job {id}: {}", first["message"]["content"]);

    println!("GET /jobs/{id}");
    let get = Request::get(format!("{gateway}/jobs/{id}")).body(Full::default())?;
    let (head, body) = exchange(get).await?;
    assert_eq!((head.status().as_u16(), serde_json::from_str::<Value>(&body)?), (200, first));
    println!("  the same result");

    println!("POST /chat/events");
    let (_, body) = exchange(post(&format!("{gateway}/chat/events"), &chat)?).await?;
    let events: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    println!("  {}", events.join(", "));
    assert_eq!(events.last(), Some(&"result"));
    assert!(events.contains(&"state"));

    println!("POST /chat with an invalid message");
    let invalid = json!({ "model": model, "messages": [7] });
    let (head, body) = exchange(post(&format!("{gateway}/chat"), &invalid)?).await?;
    println!("  {} {body}", head.status());
    assert_eq!(head.status(), 400);
    assert!(body.contains("messages"));
    Ok(())
}

fn post(url: &str, json: &Value) -> Result<Request<Full<Bytes>>, BoxError> {
    let request = Request::post(url).header("content-type", "application/json");
    Ok(request.body(Full::from(json.to_string()))?)
}

async fn exchange(request: Request<Full<Bytes>>) -> Result<(Response<()>, String), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (head, body) = client.request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((Response::from_parts(head, ()), String::from_utf8(body.to_vec())?))
}
