/// What happens to a job that is abandoned: the last clone of its request and the last wait on it are gone, and it has not ended.
///
/// Only the clones of one request count. A job is cancelled although another request with the same idempotency key, or a wait on its id,
/// waits for it.
///
/// A retry above a timeout drops one wait and starts another with a clone of the request. The job is not abandoned in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropPolicy {
    /// The job goes on. Attach to it later by its id.
    #[default]
    Detach,
    /// The job is cancelled.
    Cancel,
    /// The job is cancelled if no worker has started it. The state is polled first, and may change before the cancel arrives.
    CancelIfQueued,
}
