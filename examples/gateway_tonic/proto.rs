//! The code that `tonic-build` would generate, by hand, so that the example needs no `protoc`:
//!
//! ```proto
//! package foreman.gateway.v1;
//!
//! service Chat {
//!   rpc Chat(ChatRequest) returns (ChatReply);
//!   rpc ChatEvents(ChatRequest) returns (stream ChatEvent);
//!   rpc Attach(AttachRequest) returns (ChatReply);
//! }
//! message ChatRequest {
//!   string model = 1;
//!   repeated string messages = 2;
//!   optional string options = 3;
//! }
//! message AttachRequest { string job_id = 1; }
//! message ChatReply { string job_id = 1; string result = 2; }
//! message ChatEvent { oneof event { string state = 1; ChatReply result = 2; } }
//! ```
//!
//! Messages, options and results are JSON, which the gateway forwards byte for byte.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, http};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::gateway::Chat;

const CHAT: &str = "/foreman.gateway.v1.Chat/Chat";
const CHAT_EVENTS: &str = "/foreman.gateway.v1.Chat/ChatEvents";
const ATTACH: &str = "/foreman.gateway.v1.Chat/Attach";

type GrpcResult<T> = Result<Response<T>, Status>;
type EventsResult = GrpcResult<Streaming<ChatEvent>>;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChatRequest {
    #[prost(string, tag = "1")]
    pub(crate) model: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) messages: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) options: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AttachRequest {
    #[prost(string, tag = "1")]
    pub(crate) job_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChatReply {
    #[prost(string, tag = "1")]
    pub(crate) job_id: String,
    #[prost(string, tag = "2")]
    pub(crate) result: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChatEvent {
    #[prost(oneof = "Event", tags = "1, 2")]
    pub(crate) event: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Event {
    #[prost(string, tag = "1")]
    State(String),
    #[prost(message, tag = "2")]
    Result(ChatReply),
}

/// The server.
#[derive(Clone)]
pub(super) struct ChatServer(pub(super) Chat);

impl NamedService for ChatServer {
    const NAME: &'static str = "foreman.gateway.v1.Chat";
}

impl Service<http::Request<Body>> for ChatServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let chat = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                CHAT => {
                    let unary = service_fn(move |request| chat.clone().unary(request));
                    server().unary(unary, request).await
                }
                CHAT_EVENTS => {
                    let events = service_fn(move |request| chat.clone().events(request));
                    server().server_streaming(events, request).await
                }
                ATTACH => {
                    let attach = service_fn(move |request| chat.clone().attach(request));
                    server().unary(attach, request).await
                }
                _ => Status::unimplemented("unknown method").into_http(),
            })
        })
    }
}

fn server<T, U>() -> tonic::server::Grpc<ProstCodec<T, U>>
where
    T: prost::Message + 'static,
    U: prost::Message + Default + 'static,
{
    tonic::server::Grpc::new(ProstCodec::default())
}

/// The client.
#[derive(Clone)]
pub(crate) struct ChatClient(tonic::client::Grpc<Channel>);

impl ChatClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    pub(crate) async fn chat(&mut self, request: Request<ChatRequest>) -> GrpcResult<ChatReply> {
        self.ready().await?;
        let path = PathAndQuery::from_static(CHAT);
        self.0.unary(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn chat_events(&mut self, chat: Request<ChatRequest>) -> EventsResult {
        self.ready().await?;
        let path = PathAndQuery::from_static(CHAT_EVENTS);
        self.0.server_streaming(chat, path, ProstCodec::default()).await
    }

    pub(crate) async fn attach(&mut self, job: Request<AttachRequest>) -> GrpcResult<ChatReply> {
        self.ready().await?;
        let path = PathAndQuery::from_static(ATTACH);
        self.0.unary(job, path, ProstCodec::default()).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
