//! A gateway written with tonic: `Chat` waits for a job and answers its result, `ChatEvents` streams its states, `Attach` waits
//! for a job again.
//!
//! `cargo run --example gateway_tonic` starts a daemon and the gateway, calls it, and ends. With `FOREMAN_URL` (and perhaps
//! `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) set it uses that daemon and the first model it lists. With `GATEWAY_LISTEN` set,
//! such as `127.0.0.1:3000`, it serves there until Ctrl-C.

mod gateway;

use std::env::var;
use std::time::Duration;

use foreman_client::BoxError;
use foreman_client::tonic::JOB_ID;
use foreman_daemon::{Daemon, Echo};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use self::gateway::proto::{AttachRequest, ChatClient, ChatRequest, Event};
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
    let mut client = ChatClient::new(Endpoint::from_shared(gateway.to_owned())?.connect().await?);
    let message = r#"{"role":"user","content":"Why is the sky blue?"}"#.to_owned();
    let chat = ChatRequest { model: model.to_owned(), messages: vec![message], options: None };

    println!("Chat");
    let reply = client.chat(Request::new(chat.clone())).await?.into_inner();
    println!("  job {}: {}", reply.job_id, reply.result);

    println!("Attach");
    let again = client.attach(Request::new(AttachRequest { job_id: reply.job_id.clone() })).await?.into_inner();
    assert_eq!(again, reply);
    println!("  the same result");

    println!("ChatEvents");
    let mut events = client.chat_events(Request::new(chat.clone())).await?.into_inner();
    let mut last = None;
    while let Some(event) = events.message().await? {
        if let Some(Event::State(state)) = &event.event {
            println!("  {state}");
        }
        last = event.event;
    }
    assert!(matches!(last, Some(Event::Result(_))));

    println!("Chat with too little time");
    let mut request = Request::new(chat);
    request.set_timeout(Duration::from_millis(200));
    match client.chat(request).await {
        Err(status) if status.code() == Code::DeadlineExceeded => {
            let id = status.metadata().get(JOB_ID).ok_or("the status names no job")?.to_str()?;
            println!("  {}: job {id} goes on", status.message());
            let reply = client.attach(Request::new(AttachRequest { job_id: id.to_owned() })).await?.into_inner();
            assert_eq!(reply.job_id, id);
        }
        // A model that is faster than that.
        answer => println!("  {}", answer?.into_inner().result),
    }
    Ok(())
}
