use serde::Deserialize;

use super::chunks::Chunks;
use super::request::OllamaChatRequest;
use crate::backend::error::BackendError;
use crate::backend::model_server::{ModelApi, ModelBackend, ModelBackendBuilder, ModelServer};
use crate::{BoxError, Chat, ChatResponse, EmbedRequest, EmbedResponse, InvalidValue, JobSpec, ModelInfo};

/// A backend that runs chats on an [Ollama](https://ollama.com) server, over Ollama's own API.
///
/// A submission is sent to `POST /api/chat` byte for byte, with all fields that are not the daemon's own, and always streamed:
/// the pauses between parts show whether a model has stalled or is only slow. The parts are joined to one result. Models and
/// embeddings are the server's.
///
/// [`ModelBackend`] says which failures are transient. tower's layers limit how many requests are in flight:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_daemon::Error> {
/// use std::time::Duration;
///
/// use foreman_daemon::{Backend, Daemon, Ollama};
/// use tower::limit::ConcurrencyLimit;
///
/// let ollama = Ollama::builder("http://127.0.0.1:11434")
///     .stall(Duration::from_secs(30))
///     .build()?;
/// let chat = ConcurrencyLimit::new(ollama.clone(), 2);
/// let backend = Backend::new(chat).models(ollama.clone()).embed(ollama);
/// let daemon = Daemon::builder().backend(backend).start().await?;
/// daemon.shutdown().await;
/// # Ok(()) }
/// ```
pub type Ollama = ModelBackend<OllamaApi>;

/// Configures an [`Ollama`].
pub type OllamaBuilder = ModelBackendBuilder<OllamaApi>;

/// Ollama's own API.
#[derive(Debug, Clone, Copy)]
pub enum OllamaApi {}

#[derive(Deserialize)]
struct OllamaTags {
    #[serde(default)]
    models: Option<Vec<ModelInfo>>,
}

/// The response to `GET /api/ps`.
#[derive(Deserialize)]
struct OllamaLoaded {
    models: Vec<OllamaLoadedModel>,
}

#[derive(Deserialize)]
struct OllamaLoadedModel {
    name: String,
}

impl ModelApi for OllamaApi {
    /// The server decides.
    fn check(_: &JobSpec) -> Result<(), InvalidValue> {
        Ok(())
    }

    async fn chat(server: &ModelServer, chat: &Chat) -> Result<ChatResponse, BoxError> {
        let mut lines = server.post("/api/chat", &OllamaChatRequest::new(chat.spec())).await?.lines();
        let mut chunks = Chunks::default();
        while let Some(line) = lines.next().await? {
            if chunks.push(&line)? {
                return Ok(ChatResponse::new(chunks.finish()?));
            }
            lines.generating();
        }
        Err(BackendError::invalid_response("stream ended early"))
    }

    async fn list(server: &ModelServer) -> Result<Vec<ModelInfo>, BoxError> {
        let tags: OllamaTags = server.get("/api/tags").await?.json().await?;
        Ok(tags.models.unwrap_or_default())
    }

    async fn loaded(server: &ModelServer) -> Result<Option<Vec<String>>, BoxError> {
        let loaded: Option<OllamaLoaded> = server.get_if_offered(server.base(), "/api/ps").await?;
        Ok(loaded.map(|loaded| loaded.models.into_iter().map(|model| model.name).collect()))
    }

    async fn embed(server: &ModelServer, request: &EmbedRequest) -> Result<EmbedResponse, BoxError> {
        server.post("/api/embed", request).await?.json().await
    }
}
