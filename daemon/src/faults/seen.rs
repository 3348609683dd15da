/// How often each fault has occurred: a snapshot of [`Faults::seen`](super::Faults::seen).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Requests that were processed and whose response was lost.
    pub lost_responses: u64,
    /// Submissions that were rejected.
    pub rejected_submissions: u64,
    /// Polls that were rejected, with 404 or another status.
    pub rejected_polls: u64,
    /// Cancels that were rejected.
    pub rejected_cancels: u64,
    /// Other requests that were rejected: lists, models, embeddings, metrics.
    pub rejected_others: u64,
    /// Events that were delayed.
    pub delayed_events: u64,
    /// Events that were dropped.
    pub silenced_events: u64,
    /// Events that were sent a second time.
    pub duplicated_events: u64,
    /// Events that were put after the next one of their job.
    pub reordered_events: u64,
    /// Forged events that were sent.
    pub forged_events: u64,
    /// Events that were sent with wrong signatures.
    pub wrongly_signed_events: u64,
    /// Attempts at jobs that were stalled.
    pub stalled_jobs: u64,
}
