//! A gateway written with axum: `POST /chat` waits for a job and answers its result, `POST /chat/events` tells its states as
//! server-sent events, `GET /jobs/{id}` waits for a job again.
//!
//! `cargo run --example gateway_axum` starts a daemon and the gateway, calls it, and ends. With `FOREMAN_URL` (and perhaps
//! `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) set it uses that daemon and the first model it lists. With `GATEWAY_LISTEN` set,
//! such as `127.0.0.1:3000`, it serves there until Ctrl-C; `GATEWAY_URL` is then where the daemon reaches it, if that is another
//! address.

mod gateway;

use std::env::var;
use std::time::Duration;

use foreman_client::BoxError;
use foreman_daemon::{Daemon, Echo};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use self::gateway::{Gateway, Settings};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = var("FOREMAN_WEBHOOK_SECRET").unwrap_or_else(|_| "a secret that both sides know".to_owned());
    let echo = Echo::new().delay(Duration::from_millis(300));
    let daemon = match var("FOREMAN_URL") {
        Ok(_) => None,
        Err(_) => Some(Daemon::builder().backend(echo).webhook_secret(&secret).start().await?),
    };
    let url = daemon.as_ref().map_or_else(|| var("FOREMAN_URL"), |daemon| Ok(daemon.url()))?;
    let mut settings = Settings::new(url);
    settings.webhook_secret = Some(secret);
    settings.token = var("FOREMAN_TOKEN").ok();
    settings.public_url = var("GATEWAY_URL").ok();

    if let Ok(listen) = var("GATEWAY_LISTEN") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).init();
        settings.listen = listen.parse()?;
        let gateway = Gateway::start(settings).await?;
        println!("listening at http://{}", gateway.address());
        tokio::signal::ctrl_c().await?;
        gateway.shutdown().await?;
    } else {
        let gateway = Gateway::start(settings).await?;
        let models = gateway.client().models().await?;
        let model = models.first().ok_or("the daemon has no model")?;
        call(&format!("http://{}", gateway.address()), &model.name).await?;
        gateway.shutdown().await?;
    }
    if let Some(daemon) = daemon {
        daemon.shutdown().await;
    }
    Ok(())
}

/// What a caller sees.
async fn call(gateway: &str, model: &str) -> Result<(), BoxError> {
    let chat = json!({ "model": model, "messages": [{ "role": "user", "content": "Why is the sky blue?" }] });

    println!("POST /chat");
    let (head, body) = exchange(post(&format!("{gateway}/chat"), &chat)?).await?;
    assert_eq!(head.status(), 200, "{body}");
    let first: Value = serde_json::from_str(&body)?;
    let id = head.headers().get("foreman-job-id").ok_or("no job id")?.to_str()?;
    println!("  job {id}: {}", first["message"]["content"]);

    println!("GET /jobs/{id}");
    let (head, body) = exchange(Request::get(format!("{gateway}/jobs/{id}")).body(Full::default())?).await?;
    assert_eq!((head.status().as_u16(), serde_json::from_str::<Value>(&body)?), (200, first));
    println!("  the same result");

    println!("POST /chat/events");
    let (_, body) = exchange(post(&format!("{gateway}/chat/events"), &chat)?).await?;
    let events: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    println!("  {}", events.join(", "));
    assert_eq!(events.last(), Some(&"result"));
    assert!(events.contains(&"state"));

    println!("POST /chat with a message that is none");
    let (head, body) = exchange(post(&format!("{gateway}/chat"), &json!({ "model": model, "messages": [7] }))?).await?;
    println!("  {} {body}", head.status());
    assert_eq!(head.status(), 400);
    assert!(body.contains("messages"));
    Ok(())
}

fn post(url: &str, json: &Value) -> Result<Request<Full<Bytes>>, BoxError> {
    Ok(Request::post(url).header("content-type", "application/json").body(Full::from(json.to_string()))?)
}

async fn exchange(request: Request<Full<Bytes>>) -> Result<(Response<()>, String), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (head, body) = client.request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((Response::from_parts(head, ()), String::from_utf8(body.to_vec())?))
}
