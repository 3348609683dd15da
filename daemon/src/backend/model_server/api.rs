use std::fmt;

use super::ModelServer;
use crate::{BoxError, Chat, ChatResponse, EmbedRequest, EmbedResponse, InvalidValue, JobSpec, ModelInfo};

/// The API that a model server speaks: maps each request to it, and its response back to Ollama's shapes.
///
/// [`OllamaApi`](super::OllamaApi) and [`OpenAiApi`](super::OpenAiApi) implement it. Other crates cannot.
pub trait ModelApi: fmt::Debug + Clone + Send + Sync + 'static {
    /// Checks whether a submission can be mapped to the API.
    #[doc(hidden)]
    fn check(spec: &JobSpec) -> Result<(), InvalidValue>;

    /// Runs a chat.
    #[doc(hidden)]
    fn chat(server: &ModelServer, chat: &Chat) -> impl Future<Output = Result<ChatResponse, BoxError>> + Send;

    /// Lists the server's models.
    #[doc(hidden)]
    fn list(server: &ModelServer) -> impl Future<Output = Result<Vec<ModelInfo>, BoxError>> + Send;

    /// Lists the models that the server has loaded, or `None` if it does not report them.
    #[doc(hidden)]
    fn loaded(server: &ModelServer) -> impl Future<Output = Result<Option<Vec<String>>, BoxError>> + Send;

    /// Embeds texts.
    #[doc(hidden)]
    fn embed(
        server: &ModelServer,
        request: &EmbedRequest,
    ) -> impl Future<Output = Result<EmbedResponse, BoxError>> + Send;
}
