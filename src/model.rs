//! Models and embeddings. Requests for them are not queued.

#[doc(inline)]
pub use foreman_protocol::{BoxBackend, BoxInfo, EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
