//! Models and embeddings. Requests for them are not queued.

#[doc(inline)]
pub use foreman_protocol::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
