//! What a user sees of the webhook side.

mod mounted;
mod secret;
