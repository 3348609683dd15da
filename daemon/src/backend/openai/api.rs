use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::embed::{Embeddings, OpenAiEmbedRequest};
use super::loaded::{LlamaCppModels, LlamaSwapRunning, LmStudioModels};
use super::models::OpenAiModels;
use super::request::OpenAiChatRequest;
use super::response::{Timings, response};
use super::stream::{Events, Line};
use crate::backend::error::BackendError;
use crate::backend::model_server::{ApiKey, ModelApi, ModelBackend, ModelBackendBuilder, ModelServer};
use crate::{BoxError, Chat, ChatResponse, EmbedRequest, EmbedResponse, InvalidValue, JobSpec, ModelInfo};

/// A backend that runs chats on a server with OpenAI's API: llama.cpp, vLLM, LM Studio and others.
///
/// The server's URL may end with `/v1` or not. Chats are always streamed: the pauses between parts show whether a model has
/// stalled or is only slow. Requests are mapped to OpenAI's shapes, and responses back to Ollama's:
///
/// | Ollama | OpenAI |
/// |---|---|
/// | `images` | content parts with `data:` URLs (PNG, JPEG, GIF, WebP) |
/// | `tool_calls`, whose `arguments` are objects | the same with `arguments` as text; a missing id is generated |
/// | `tool_name` of a tool's result | `tool_call_id` of the earliest call of that tool without a result |
/// | `tools` | `tools`, byte for byte |
/// | `options`: `temperature`, `top_p`, `seed`, `stop`, `presence_penalty`, `frequency_penalty` | the same |
/// | `options`: `num_predict` above zero | `max_tokens` |
/// | `options`: `top_k`, `min_p` | the same, in llama.cpp, vLLM and LM Studio |
/// | `options`: `repeat_penalty` | `repeat_penalty` in llama.cpp and LM Studio, `repetition_penalty` in vLLM: both are sent |
/// | `format`: `"json"` | `response_format` with the type `json_object` |
/// | `format`: a JSON schema | `response_format` with the type `json_schema`, `strict` |
/// | `think`, if it is a level | `reasoning_effort` |
/// | `think`, if it is a boolean | `enable_thinking` in `chat_template_kwargs`, in llama.cpp and vLLM |
/// | `keep_alive` above zero | `ttl` in seconds, in LM Studio |
/// | `thinking` of the response | `reasoning_content` or `reasoning` |
/// | `done_reason` | `finish_reason`; a tool call is `stop` |
/// | `prompt_eval_count`, `eval_count` | `usage` |
///
/// Any other field and any other option is refused with 422 at submission, because the response would be another one without it.
/// Accepted without effect are the options for how a server runs a model (`num_ctx`, `num_keep`, `num_batch`, `num_gpu`,
/// `main_gpu`, `num_thread`, `use_mmap`, `use_mlock`, `low_vram`, `f16_kv`, `numa`), a `num_predict` below one, a `keep_alive` of
/// zero or less, and other fields of messages. A server ignores or refuses the fields of other servers. The backend measures the
/// durations: `prompt_eval_duration` is the time until the first part of the response. Embeddings ignore `options` and
/// `keep_alive`.
///
/// [`ModelBackend`] says which failures are transient, and [`Ollama`](crate::Ollama) shows how to limit the requests in flight.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_daemon::Error> {
/// use foreman_daemon::{Daemon, OpenAi};
///
/// let openai = OpenAi::builder("http://127.0.0.1:8080/v1")
///     .api_key("a-key")
///     .build()?;
/// let daemon = Daemon::builder().backend(openai).start().await?;
/// daemon.shutdown().await;
/// # Ok(()) }
/// ```
pub type OpenAi = ModelBackend<OpenAiApi>;

/// Configures an [`OpenAi`].
pub type OpenAiBuilder = ModelBackendBuilder<OpenAiApi>;

/// How long a stream may pause between its finish reason and its end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// OpenAI's API.
#[derive(Debug, Clone, Copy)]
pub enum OpenAiApi {}

impl OpenAiBuilder {
    /// Sends `Authorization: Bearer KEY` with each request. Default: no key.
    pub fn api_key(mut self, key: impl AsRef<str>) -> Self {
        self.api_key = Some(ApiKey::new(key.as_ref()));
        self
    }
}

fn path(server: &ModelServer, endpoint: &str) -> String {
    let version = if server.base().ends_with("/v1") { "" } else { "/v1" };
    format!("{version}{endpoint}")
}

impl ModelApi for OpenAiApi {
    fn check(spec: &JobSpec) -> Result<(), InvalidValue> {
        OpenAiChatRequest::new(spec).map(drop)
    }

    async fn chat(server: &ModelServer, chat: &Chat) -> Result<ChatResponse, BoxError> {
        let begin = Instant::now();
        let request = OpenAiChatRequest::new(chat.spec())?;
        let mut lines = server.post(&path(server, "/chat/completions"), &request).await?.lines();
        let (mut events, mut first) = (Events::default(), None);
        loop {
            let line = if events.finish_reason.is_none() {
                lines.next().await?
            } else {
                // The response is complete. What may follow is its usage and `[DONE]`.
                timeout(END_TIMEOUT, lines.next()).await.ok().and_then(Result::ok).flatten()
            };
            let Some(line) = line else { break };
            match events.push(&line)? {
                Line::Other => {}
                Line::Done => {
                    events.finish_reason.get_or_insert_with(|| "stop".to_owned());
                    break;
                }
                Line::Delta => {
                    first.get_or_insert_with(|| begin.elapsed());
                    lines.generating();
                }
            }
        }
        // Some servers close the stream without `[DONE]`. The response is complete if there was a finish reason.
        if events.finish_reason.is_none() {
            return Err(BackendError::invalid_response("stream ended early"));
        }
        let total = begin.elapsed();
        response(chat.model(), Timestamp::now(), events, Timings { first: first.unwrap_or(total), total })
    }

    async fn list(server: &ModelServer) -> Result<Vec<ModelInfo>, BoxError> {
        let models: OpenAiModels = server.get(&path(server, "/models")).await?.json().await?;
        Ok(models.into())
    }

    async fn loaded(server: &ModelServer) -> Result<Option<Vec<String>>, BoxError> {
        // OpenAI's API has nothing of the kind.
        let root = server.base().strip_suffix("/v1").unwrap_or(server.base());
        if let Some(running) = server.get_if_offered::<LlamaSwapRunning>(root, "/running").await? {
            return Ok(Some(running.into()));
        }
        if let Some(models) = server.get_if_offered::<LmStudioModels>(root, "/api/v0/models").await? {
            return Ok(Some(models.into()));
        }
        Ok(server.get_if_offered::<LlamaCppModels>(root, "/models").await?.map(Vec::from))
    }

    async fn embed(server: &ModelServer, request: &EmbedRequest) -> Result<EmbedResponse, BoxError> {
        let response = server.post(&path(server, "/embeddings"), &OpenAiEmbedRequest::new(request)).await?;
        response.json::<Embeddings>().await?.ordered(request.input().texts().len())
    }
}
