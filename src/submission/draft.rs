use std::sync::Arc;

use super::keep_alive::KeepAlive;

/// The conversation of a request, shared by all submissions of it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) model: Box<str>,
    /// The JSON object without its closing brace, so that the callback URL can be appended.
    pub(crate) head: Box<[u8]>,
}

/// A submission whose last holder was dropped while its job was not known for sure, with the conversation to find it by.
#[derive(Debug)]
pub(crate) struct LostSubmission {
    pub(crate) draft: Arc<Draft>,
    pub(crate) keep_alive: KeepAlive,
}
