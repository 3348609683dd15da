//! Models and embeddings, which are asked for directly and not queued.

#[doc(inline)]
pub use foreman_protocol::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
