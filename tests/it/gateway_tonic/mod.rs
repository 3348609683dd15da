//! The gateway of the tonic example, seen by its callers.

#[path = "../../../examples/gateway_tonic/gateway/mod.rs"]
mod gateway;

mod events;
mod faults;
mod limits;
mod stop;
mod unary;

use foreman_client::tonic::JOB_ID;
use foreman_client::{Client, JobId};
use foreman_daemon::Daemon;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

use self::gateway::proto::{AttachRequest, ChatClient, ChatReply, ChatRequest};
use self::gateway::{Gateway, Settings};
use crate::gate::Gate;

const SECRET: &str = "a secret that both sides know";

struct Rig {
    gate: Gate,
    daemon: Daemon,
    gateway: Gateway,
    caller: ChatClient,
}

impl Rig {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let (gate, daemon) = daemon().await;
        let gateway = gateway(&daemon.url(), set).await;
        let caller = caller(&gateway).await;
        Self { gate, daemon, gateway, caller }
    }

    fn client(&self) -> &Client {
        self.gateway.client()
    }
}

/// A daemon whose jobs end when they are told to.
async fn daemon() -> (Gate, Daemon) {
    let (gate, backend) = Gate::new();
    (gate, Daemon::builder().backend(backend).webhook_secret(SECRET).start().await.unwrap())
}

async fn gateway(url: &str, set: impl FnOnce(&mut Settings)) -> Gateway {
    let mut settings = Settings::new(url);
    settings.webhook_secret = Some(SECRET.to_owned());
    set(&mut settings);
    Gateway::start(settings).await.unwrap()
}

async fn caller(gateway: &Gateway) -> ChatClient {
    let url = format!("http://{}", gateway.address());
    ChatClient::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap())
}

fn chat() -> Request<ChatRequest> {
    let message = r#"{"role":"user","content":"hi"}"#.to_owned();
    Request::new(ChatRequest { model: "m".to_owned(), messages: vec![message], options: None })
}

/// A call under way.
fn call(caller: &ChatClient) -> tokio::task::JoinHandle<Result<Response<ChatReply>, Status>> {
    let mut caller = caller.clone();
    tokio::spawn(async move { caller.chat(chat()).await })
}

async fn attach(caller: &mut ChatClient, id: &JobId) -> Result<Response<ChatReply>, Status> {
    caller.attach(Request::new(AttachRequest { job_id: id.to_string() })).await
}

fn passed(reply: Result<Response<ChatReply>, Status>, id: &JobId) {
    let reply = reply.unwrap().into_inner();
    assert_eq!((reply.job_id.as_str(), reply.result.as_str()), (id.as_str(), r#""passed""#));
}

fn told<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    Some(metadata.get(key)?.to_str().unwrap())
}

fn job_id(metadata: &MetadataMap) -> Option<&str> {
    told(metadata, JOB_ID)
}
