//! What makes a job's end known at once: the daemon's state webhooks, their signatures, and where they come in.

mod secret;
mod signature;
mod verify;

pub use self::secret::Secret;
