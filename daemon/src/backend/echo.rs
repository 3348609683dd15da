use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tower::Service;

use super::{Chat, ChatAnswer, ListModels};
use crate::{EmbedRequest, EmbedResponse, InvalidValue, ModelInfo};

/// How many numbers a vector of [`Echo`] has.
const WIDTH: usize = 8;

/// A backend without a model, to try things out with: it says the last user message back, and says that it is no model.
///
/// It answers in Ollama's shape, at once unless it is given a [`delay`](Echo::delay). It lists one model, `echo`, and takes a job for any. Its embeddings are eight
/// numbers out of a digest of the text: the same text gives the same vector, and that is all they mean.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo {
    delay: Duration,
}

impl Echo {
    /// The backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes so long over a chat, as a model would; no time unless set.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    created_at: Timestamp,
    message: Said<'a>,
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
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Deserialize)]
struct Heard {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

fn answer(chat: &Chat) -> Result<ChatAnswer, InvalidValue> {
    let heard = chat.messages().iter().rev().filter_map(|message| serde_json::from_str(message.as_json()).ok());
    let last = heard.into_iter().find(|heard: &Heard| heard.role.as_deref() == Some("user"));
    let text = last.and_then(|heard| heard.content).unwrap_or_default();
    let content = format!("echo (this is no model): {text}");
    ChatAnswer::from_value(&Answer {
        model: chat.model(),
        created_at: Timestamp::now(),
        message: Said { role: "assistant", content: &content },
        done: true,
        done_reason: "stop",
        // Nanoseconds and tokens of nothing: a reader that divides by a duration should not divide by zero.
        total_duration: 1,
        load_duration: 0,
        prompt_eval_count: text.split_whitespace().count(),
        prompt_eval_duration: 1,
        eval_count: content.split_whitespace().count(),
        eval_duration: 1,
    })
}

fn vector(text: &str) -> Vec<f32> {
    Sha256::digest(text).iter().take(WIDTH).map(|byte| f32::from(*byte) / 127.5 - 1.0).collect()
}

impl Service<Chat> for Echo {
    type Response = ChatAnswer;
    type Error = InvalidValue;
    // Boxed, as the daemon does with every backend's.
    type Future = Pin<Box<dyn Future<Output = Result<ChatAnswer, InvalidValue>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), InvalidValue>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, chat: Chat) -> Self::Future {
        let delay = self.delay;
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            answer(&chat)
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
