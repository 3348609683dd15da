//! What a user sees of the webhook side.

mod listener;
mod mounted;
