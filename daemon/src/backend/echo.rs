use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tower::Service;

use super::{Chat, ChatResponse, ListModels};
use crate::{EmbedRequest, EmbedResponse, InvalidValue, ModelInfo};

/// The dimension of [`Echo`]'s embeddings.
const DIMENSION: usize = 8;

/// A backend without a model, for tests and for a first try: it echoes the last user message.
///
/// The response has Ollama's shape and says that it comes from no model. It is immediate unless a [`delay`](Echo::delay) is
/// set. `Echo` lists one model, `echo`, and accepts any model name. An embedding is eight numbers from a digest of the text: the
/// same text has the same embedding, and it means nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo {
    delay: Duration,
}

impl Echo {
    /// Creates the backend, without a delay.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long each chat takes. Default: zero.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Serialize)]
struct EchoResponse<'a> {
    model: &'a str,
    created_at: Timestamp,
    message: EchoMessage<'a>,
    done: bool,
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
}

#[derive(Serialize)]
struct EchoMessage<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Deserialize)]
struct SubmittedMessage {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

fn echo(chat: &Chat) -> Result<ChatResponse, InvalidValue> {
    let messages = chat.messages().iter().rev().filter_map(|message| serde_json::from_str(message.as_json()).ok());
    let last = messages.into_iter().find(|message: &SubmittedMessage| message.role.as_deref() == Some("user"));
    let text = last.and_then(|message| message.content).unwrap_or_default();
    let content = format!("echo (this is no model): {text}");
    ChatResponse::from_value(&EchoResponse {
        model: chat.model(),
        created_at: Timestamp::now(),
        message: EchoMessage { role: "assistant", content: &content },
        done: true,
        done_reason: "stop",
        // Durations are at least 1 ns, so that a division by a duration is never one by zero.
        total_duration: 1,
        load_duration: 0,
        prompt_eval_count: text.split_whitespace().count(),
        prompt_eval_duration: 1,
        eval_count: content.split_whitespace().count(),
        eval_duration: 1,
    })
}

fn vector(text: &str) -> Vec<f32> {
    Sha256::digest(text).iter().take(DIMENSION).map(|byte| f32::from(*byte) / 127.5 - 1.0).collect()
}

impl Service<Chat> for Echo {
    type Response = ChatResponse;
    type Error = InvalidValue;
    // Boxed, as the daemon boxes the future of any backend.
    type Future = Pin<Box<dyn Future<Output = Result<ChatResponse, InvalidValue>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), InvalidValue>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, chat: Chat) -> Self::Future {
        let delay = self.delay;
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            echo(&chat)
        })
    }
}

impl Service<ListModels> for Echo {
    type Response = Vec<ModelInfo>;
    type Error = InvalidValue;
    type Future = Ready<Result<Vec<ModelInfo>, InvalidValue>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), InvalidValue>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ListModels) -> Self::Future {
        ready(Ok(vec![ModelInfo::new("echo")]))
    }
}

impl Service<EmbedRequest> for Echo {
    type Response = EmbedResponse;
    type Error = InvalidValue;
    type Future = Ready<Result<EmbedResponse, InvalidValue>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), InvalidValue>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: EmbedRequest) -> Self::Future {
        let mut response = EmbedResponse::new(request.input().texts().iter().map(|text| vector(text)).collect());
        response.model = Some(request.model().to_owned());
        ready(Ok(response))
    }
}
