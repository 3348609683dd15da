use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::Service;

use super::{ModelApi, ModelBackendBuilder, ModelServer};
use crate::{
    Backend, BoxError, Chat, ChatResponse, EmbedRequest, EmbedResponse, Error, InvalidValue, JobSpec, ListLoaded,
    ListModels, ModelInfo,
};

/// A backend that calls a model server over the API `A`: [`Ollama`](crate::Ollama) or [`OpenAi`](crate::OpenAi).
///
/// It is a tower service for chats, models, loaded models and embeddings. Clones share connections.
///
/// The server is [`Unavailable`](crate::Unavailable) if it cannot be connected to, or responds with 429 or 503; `Retry-After` is obeyed. A
/// failure is [`Transient`](crate::Transient) if the server responds with 408 or another 5xx (except 501),
/// stalls, closes the connection early, sends an invalid response, or reports an error during a stream. Any other status is
/// final, and the job's `error` contains the server's message. Dropping a future closes the connection, which stops the model.
#[derive(Debug, Clone)]
pub struct ModelBackend<A> {
    server: ModelServer,
    api: PhantomData<A>,
}

impl<A: ModelApi> ModelBackend<A> {
    /// A backend with the default limits and without an API key, for the server at `url`.
    ///
    /// # Errors
    ///
    /// See [`ModelBackendBuilder::build`].
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// Configures a backend for the server at `url`.
    pub fn builder(url: impl Into<String>) -> ModelBackendBuilder<A> {
        ModelBackendBuilder::new(url.into())
    }

    /// Checks a submission, for [`Backend::check`]. A conversion of this backend into a [`Backend`] includes it.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], naming the field, if the server's API has no counterpart of a field that affects the response. Ollama's
    /// own API has one of each.
    pub fn check(spec: &JobSpec) -> Result<(), InvalidValue> {
        A::check(spec)
    }

    pub(super) fn from_server(server: ModelServer) -> Self {
        Self { server, api: PhantomData }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<A: ModelApi> Service<Chat> for ModelBackend<A> {
    type Response = ChatResponse;
    type Error = BoxError;
    type Future = BoxFuture<ChatResponse>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, chat: Chat) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move { server.limit_attempt(A::chat(&server, &chat)).await })
    }
}

impl<A: ModelApi> Service<ListModels> for ModelBackend<A> {
    type Response = Vec<ModelInfo>;
    type Error = BoxError;
    type Future = BoxFuture<Vec<ModelInfo>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ListModels) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move { server.limit_attempt(A::list(&server)).await })
    }
}

impl<A: ModelApi> Service<ListLoaded> for ModelBackend<A> {
    type Response = Option<Vec<String>>;
    type Error = BoxError;
    type Future = BoxFuture<Option<Vec<String>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ListLoaded) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move { A::loaded(&server).await })
    }
}

impl<A: ModelApi> Service<EmbedRequest> for ModelBackend<A> {
    type Response = EmbedResponse;
    type Error = BoxError;
    type Future = BoxFuture<EmbedResponse>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: EmbedRequest) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move { server.limit_attempt(A::embed(&server, &request)).await })
    }
}

impl<A: ModelApi> From<ModelBackend<A>> for Backend {
    fn from(backend: ModelBackend<A>) -> Self {
        let servers = vec![backend.server.url().clone()];
        Self { servers, ..Self::from_service(backend.clone()).loaded(backend).check(A::check) }
    }
}
