use std::pin::Pin;
use std::task::{Context, Poll};

use jiff::Timestamp;
use tokio::time::Instant;
use tower::Service;

use super::OpenAiBuilder;
use super::embed::{self, Embeddings};
use super::models::Models;
use super::request::Request;
use super::response::{Took, answer};
use super::stream::{Events, Line};
use crate::backend::error::BackendError;
use crate::backend::http::ModelServer;
use crate::{Backend, Chat, ChatAnswer, ListModels};
use crate::{BoxError, EmbedRequest, EmbedResponse, Error, ModelInfo};

/// A backend that has a server with OpenAI's API run the chats: llama.cpp's, vLLM, LM Studio, and others.
///
/// Chats are always streamed, so that a model that has stalled is told from one that is slow. They are mapped to OpenAI's
/// shape and back to Ollama's:
///
/// | Ollama | OpenAI |
/// |---|---|
/// | `images` | parts of the content, `data:` URLs (PNG, JPEG, GIF, WebP) |
/// | `tool_calls`, whose `arguments` are objects | the same with text; an id is made where there is none |
/// | `tool_name` of a tool's result | `tool_call_id` of the earliest call of that tool without a result |
/// | `tools` | `tools`, byte for byte |
/// | `options`: `temperature`, `top_p`, `seed`, `stop`, `presence_penalty`, `frequency_penalty` | the same |
/// | `options`: `num_predict` above zero | `max_tokens` |
/// | `think` that is a level | `reasoning_effort` |
/// | `thinking` of the answer | `reasoning_content` or `reasoning` |
/// | `done_reason` | `finish_reason`; a call of a tool is `stop` |
/// | `prompt_eval_count`, `eval_count` | `usage` |
///
/// Other options and fields of messages are left out. The durations are measured here: `prompt_eval_duration` is the time
/// until the model spoke, whatever it was spent on. Embeddings take neither `options` nor `keep_alive`.
///
/// What may go away is [`Transient`](crate::Transient): the server cannot be reached, answers 408, 429 or 5xx (but
/// for 501), stalls, breaks off, answers nonsense, or says in mid-stream that it failed. Every other status is final, with the
/// server's reason. Dropping a future closes the connection, which stops the model.
///
/// How much it is asked at once is not limited here, but by tower's layers, as [`Ollama`](crate::Ollama) shows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_daemon::Error> {
/// use foreman_daemon::{Daemon, OpenAi};
///
/// let openai = OpenAi::builder("http://127.0.0.1:8080/v1").api_key("a-key").build()?;
/// let daemon = Daemon::builder().backend(openai).start().await?;
/// daemon.shutdown().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct OpenAi {
    server: ModelServer,
}

impl OpenAi {
    /// With the defaults and without a key, for a server at `url`, which may end with `/v1` or not.
    ///
    /// # Errors
    ///
    /// As [`OpenAiBuilder::build`].
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// To set a key and limits, for a server at `url`, which may end with `/v1` or not.
    pub fn builder(url: impl Into<String>) -> OpenAiBuilder {
        OpenAiBuilder::new(url.into())
    }

    pub(super) fn of(server: ModelServer) -> Self {
        Self { server }
    }

    fn path(&self, below: &str) -> String {
        let version = if self.server.base().ends_with("/v1") { "" } else { "/v1" };
        format!("{version}{below}")
    }

    async fn chat(&self, chat: &Chat) -> Result<ChatAnswer, BoxError> {
        let begin = Instant::now();
        let request = Request::of(chat)?;
        let mut lines = self.server.post(&self.path("/chat/completions"), &request).await?.lines();
        let (mut events, mut first) = (Events::default(), None);
        while let Some(line) = lines.next().await? {
            match events.push(&line)? {
                Line::Other => {}
                Line::Done => {
                    events.finish_reason.get_or_insert_with(|| "stop".to_owned());
                    break;
                }
                Line::Said => {
                    first.get_or_insert_with(|| begin.elapsed());
                    lines.began();
                }
            }
        }
        // Some servers close without `[DONE]`, which is as good where the model has finished.
        if events.finish_reason.is_none() {
            return Err(BackendError::garbage("it ends before it is done"));
        }
        let total = begin.elapsed();
        answer(chat.model(), Timestamp::now(), events, Took { first: first.unwrap_or(total), total })
    }

    async fn list(&self) -> Result<Vec<ModelInfo>, BoxError> {
        let models: Models = self.server.get(&self.path("/models")).await?.json().await?;
        Ok(models.into())
    }

    async fn vectors(&self, request: &EmbedRequest) -> Result<EmbedResponse, BoxError> {
        let answer = self.server.post(&self.path("/embeddings"), &embed::Request::of(request)).await?;
        answer.json::<Embeddings>().await?.ordered(request.input().texts().len())
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Service<Chat> for OpenAi {
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

impl Service<ListModels> for OpenAi {
    type Response = Vec<ModelInfo>;
    type Error = BoxError;
    type Future = Answering<Vec<ModelInfo>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ListModels) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.server.within(this.list()).await })
    }
}

impl Service<EmbedRequest> for OpenAi {
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

impl From<OpenAi> for Backend {
    fn from(openai: OpenAi) -> Self {
        Self::from_service(openai)
    }
}
