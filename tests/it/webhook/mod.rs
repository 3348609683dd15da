//! The webhook receiver and the listener on their own.

mod listener;
mod mounted;
mod secrets;
