/// What happens to a job when nobody waits for it any longer: when the last clone of its request and the last wait on it are gone
/// and it has not ended.
///
/// A retry above a time-out drops one wait and begins another with a clone of the request; the job is left alone meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropPolicy {
    /// The job is left alone: attach to it later by its id.
    #[default]
    Detach,
    /// The job is cancelled.
    Cancel,
    /// The job is cancelled if no worker has begun it. The state is asked first, and may change before the cancel arrives.
    CancelIfQueued,
}
