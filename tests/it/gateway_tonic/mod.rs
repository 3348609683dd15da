//! The gateway of the tonic example. Callers use its gRPC client.

#[path = "../../../examples/gateway_tonic/gateway.rs"]
mod gateway;
#[path = "../../../examples/gateway_tonic/proto.rs"]
mod proto;

mod events;
mod limits;
mod outages;
mod stop;
mod unary;

use foreman_client::tonic014::JOB_ID;
use foreman_client::{Client, JobId};
use foreman_daemon::Daemon;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

use self::gateway::{Gateway, Settings};
use self::proto::{AttachRequest, ChatClient, ChatEvent, ChatReply, ChatRequest};
use crate::support::{BoundedGate, SECRET, bounded, gated_daemon};

struct TonicHarness {
    gate: BoundedGate,
    daemon: Daemon,
    gateway: Gateway,
    caller: ChatClient,
}

impl TonicHarness {
    async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    async fn with(configure: impl FnOnce(Settings) -> Settings) -> Self {
        let (gate, daemon) = signing_daemon().await;
        let gateway = start_gateway(&daemon.url(), configure).await;
        let caller = connect(&gateway).await;
        Self { gate, daemon, gateway, caller }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }
}

/// A gated daemon that signs its events.
async fn signing_daemon() -> (BoundedGate, Daemon) {
    gated_daemon(Daemon::builder().webhook_secret(SECRET)).await
}

async fn start_gateway(url: &str, configure: impl FnOnce(Settings) -> Settings) -> Gateway {
    let settings = Settings::new(Client::builder(url).webhook_secret(SECRET));
    Gateway::start(configure(settings)).await.unwrap()
}

async fn connect(gateway: &Gateway) -> ChatClient {
    let url = format!("http://{}", gateway.address);
    ChatClient::new(bounded(Endpoint::from_shared(url).unwrap().connect()).await.unwrap())
}

fn chat() -> Request<ChatRequest> {
    let message = r#"{"role":"user","content":"hi"}"#.to_owned();
    Request::new(ChatRequest { model: "m".to_owned(), messages: vec![message], options: None })
}

/// A call in a task of its own.
fn spawn_chat(caller: &ChatClient) -> tokio::task::JoinHandle<Result<Response<ChatReply>, Status>> {
    let mut caller = caller.clone();
    tokio::spawn(async move { bounded(caller.chat(chat())).await })
}

/// The error of a unary call.
async fn chat_error(caller: &mut ChatClient) -> Status {
    bounded(caller.chat(chat())).await.unwrap_err()
}

/// The stream of a call.
async fn chat_events(caller: &mut ChatClient) -> Result<Response<Streaming<ChatEvent>>, Status> {
    bounded(caller.chat_events(chat())).await
}

async fn attach(caller: &mut ChatClient, id: &JobId) -> Result<Response<ChatReply>, Status> {
    bounded(caller.attach(Request::new(AttachRequest { job_id: id.to_string() }))).await
}

/// Asserts that a reply has the result of that job.
fn assert_result(reply: Result<Response<ChatReply>, Status>, id: &JobId) {
    let reply = reply.unwrap().into_inner();
    assert_eq!((reply.job_id.as_str(), reply.result.as_str()), (id.as_str(), r#""passed""#));
}

fn value<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    Some(metadata.get(key)?.to_str().unwrap())
}

fn job_id(metadata: &MetadataMap) -> Option<&str> {
    value(metadata, JOB_ID)
}
