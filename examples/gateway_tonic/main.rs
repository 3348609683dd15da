//! A gateway written with tonic. `Chat` waits for a job and returns its result, `ChatEvents`
//! streams its states, and `Attach` waits for a job again.
//!
//! `cargo run --example gateway_tonic` starts a daemon and the gateway, calls it, and ends. With
//! `FOREMAN_URL` (and optionally `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) it uses that
//! daemon and the first model that it lists. With `GATEWAY_LISTEN`, such as `127.0.0.1:3000`, it
//! serves there until Ctrl-C.
//!
//! The gateway is in `gateway.rs`, and the code that `tonic-build` would generate in `proto.rs`.

#[path = "../common/daemon.rs"]
mod daemon;
mod gateway;
mod proto;

use std::env::var;
use std::time::Duration;

use foreman_client::BoxError;
use foreman_client::tonic014::JOB_ID;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use self::daemon::{ExampleDaemon, first_model};
use self::gateway::{Gateway, Settings};
use self::proto::{AttachRequest, ChatClient, ChatRequest, Event};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let daemon = ExampleDaemon::start().await?;
    let mut settings = Settings::new(daemon.client().webhook_secret(&daemon.secret));

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

/// Calls each method as a caller does, and asserts the replies.
async fn call(gateway: &str, model: &str) -> Result<(), BoxError> {
    let mut client = ChatClient::new(Endpoint::from_shared(gateway.to_owned())?.connect().await?);
    let message = r#"{"role":"user","content":"Why is the sky blue?"}"#.to_owned();
    let chat = ChatRequest { model: model.to_owned(), messages: vec![message], options: None };

    println!("Chat");
    let reply = client.chat(Request::new(chat.clone())).await?.into_inner();
    assert!(!reply.job_id.is_empty() && !reply.result.is_empty());
    println!("  job {}: {}", reply.job_id, reply.result);

    println!("Attach");
    let attach = AttachRequest { job_id: reply.job_id.clone() };
    let attached = client.attach(Request::new(attach)).await?.into_inner();
    assert_eq!(attached, reply);
    println!("  the same result");

    println!("ChatEvents");
    let mut events = client.chat_events(Request::new(chat.clone())).await?.into_inner();
    let (mut states, mut last) = (0, None);
    while let Some(event) = events.message().await? {
        if let Some(Event::State(state)) = &event.event {
            println!("  {state}");
            states += 1;
        }
        last = event.event;
    }
    assert!(states > 0 && matches!(last, Some(Event::Result(_))));

    println!("Chat with a short deadline");
    let mut request = Request::new(chat);
    request.set_timeout(Duration::from_millis(200));
    match client.chat(request).await {
        Err(status) if status.code() == Code::DeadlineExceeded => {
            let id = status.metadata().get(JOB_ID).ok_or("the status has no job id")?.to_str()?;
            println!("  {}: job {id} continues", status.message());
            let attach = AttachRequest { job_id: id.to_owned() };
            let reply = client.attach(Request::new(attach)).await?.into_inner();
            assert_eq!(reply.job_id, id);
        }
        // The model of another daemon may be faster.
        reply => println!("  {}", reply?.into_inner().result),
    }
    Ok(())
}
