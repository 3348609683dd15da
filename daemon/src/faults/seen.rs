/// Which faults have happened: a snapshot of [`Faults::seen`](super::Faults::seen).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Requests that were carried out and whose answer was lost.
    pub lost_answers: u64,
    /// Submissions that were refused.
    pub refused_submissions: u64,
    /// Polls that were refused, with 404 or otherwise.
    pub refused_polls: u64,
    /// Cancels that were refused.
    pub refused_cancels: u64,
    /// Requests that were refused and are none of these: lists, models, embeddings, metrics.
    pub refused_others: u64,
    /// Events that were held back for a time.
    pub late_events: u64,
    /// Events that were never sent.
    pub silenced_events: u64,
    /// Events that were sent once more.
    pub duplicated_events: u64,
    /// Events that were put behind the next one of their job.
    pub reordered_events: u64,
    /// Events that told what is not so.
    pub forged_events: u64,
    /// Events whose signatures were wrong.
    pub missigned_events: u64,
    /// Jobs that were taken and not begun, each of their attempts counted.
    pub stalled_jobs: u64,
}
