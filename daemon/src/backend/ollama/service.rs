use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Deserialize;
use tower::Service;

use super::OllamaBuilder;
use super::chunks::Chunks;
use super::request::Request;
use crate::backend::error::BackendError;
use crate::backend::http::ModelServer;
use crate::{Backend, Chat, ChatAnswer, ListModels};
use crate::{BoxError, EmbedRequest, EmbedResponse, Error, ModelInfo};

/// A backend that has an [Ollama](https://ollama.com) server run the chats, by its own API.
///
/// What was submitted goes to `POST /api/chat` byte for byte, always streamed, so that a model that has stalled is told from
/// one that is slow; the chunks become one result. Models and embeddings are the server's.
///
/// What may go away is [`Transient`](crate::Transient): the server cannot be reached, answers 408, 429 or 5xx (but
/// for 501), stalls, breaks off, answers nonsense, or says in mid-stream that it failed. Every other status is final, with the
/// server's reason. Dropping a future closes the connection, which stops the model.
///
/// How much it is asked at once is not limited here, but by tower's layers:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_daemon::Error> {
/// use std::time::Duration;
///
/// use foreman_daemon::{Backend, Daemon, Ollama};
/// use tower::limit::ConcurrencyLimit;
///
/// let ollama = Ollama::builder("http://127.0.0.1:11434").stall(Duration::from_secs(30)).build()?;
/// let chat = ConcurrencyLimit::new(ollama.clone(), 2);
/// let backend = Backend::new(chat).models(ollama.clone()).embed(ollama);
/// let daemon = Daemon::builder().backend(backend).start().await?;
/// daemon.shutdown().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Ollama {
    server: ModelServer,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Option<Vec<ModelInfo>>,
}

impl Ollama {
    /// With the defaults, for a server at `url`.
    ///
    /// # Errors
    ///
    /// As [`OllamaBuilder::build`].
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// To set limits, for a server at `url`.
    pub fn builder(url: impl Into<String>) -> OllamaBuilder {
        OllamaBuilder::new(url.into())
    }

    pub(super) fn of(server: ModelServer) -> Self {
        Self { server }
    }

    async fn chat(&self, chat: &Chat) -> Result<ChatAnswer, BoxError> {
        let mut lines = self.server.post("/api/chat", &Request::of(chat)).await?.lines();
        let mut chunks = Chunks::default();
        while let Some(line) = lines.next().await? {
            if chunks.push(&line)? {
                return Ok(ChatAnswer::new(chunks.finish()?));
            }
            lines.began();
        }
        Err(BackendError::garbage("it ends before it is done"))
    }

    async fn tags(&self) -> Result<Vec<ModelInfo>, BoxError> {
        let tags: Tags = self.server.get("/api/tags").await?.json().await?;
        Ok(tags.models.unwrap_or_default())
    }

    async fn vectors(&self, request: &EmbedRequest) -> Result<EmbedResponse, BoxError> {
        self.server.post("/api/embed", request).await?.json().await
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Service<Chat> for Ollama {
    type Response = ChatAnswer;
    type Error = BoxError;
    type Future = Answering<ChatAnswer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, chat: Chat) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.server.within(this.chat(&chat)).await })
    }
}

impl Service<ListModels> for Ollama {
    type Response = Vec<ModelInfo>;
    type Error = BoxError;
    type Future = Answering<Vec<ModelInfo>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ListModels) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.server.within(this.tags()).await })
    }
}

impl Service<EmbedRequest> for Ollama {
    type Response = EmbedResponse;
    type Error = BoxError;
    type Future = Answering<EmbedResponse>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: EmbedRequest) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.server.within(this.vectors(&request)).await })
    }
}

impl From<Ollama> for Backend {
    fn from(ollama: Ollama) -> Self {
        Self::from_service(ollama)
    }
}
