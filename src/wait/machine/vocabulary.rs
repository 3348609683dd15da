//! What a [`Machine`](super::Machine) is told, and what it decides.

use crate::Error;
use crate::error::Kind;
use crate::submission::SendState;
use std::time::Duration;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The submission belongs to another daemon, or the webhook registry is full, or the deadline passes before the daemon takes
    /// submissions again.
    ClaimFailed,
    /// The wait asked for the right to send and found this state. `Fresh` means that it has the right now.
    Claimed(SendState),
    /// It asked for the right to send again, and another wait had taken it.
    Overtaken,
    /// The daemon has asked to send nothing, before the wait has sent what it has the right to send.
    Paused,
    /// The time for the response has passed before the service was ready to send.
    NotReady,
    /// The daemon accepted the submission.
    Accepted,
    /// Sending failed. `Fresh`: it surely did not arrive. `Lost`: it may have. `Accepted`: an event has named the job meanwhile.
    SendFailed(SendState),
    /// The result is known, from an event or from another wait.
    ResultKnown,
    /// A signed event came with a result, before the response to the submission that confirms it.
    UnconfirmedResult,
    /// The service shuts down.
    ShuttingDown,
    /// A signed event came with a state that is not terminal.
    SignedState,
    /// An unsigned event came, which may be the result.
    Hint,
    /// A poll returned a state. `prompted`: an event came while it was in flight, so that the next one follows at once.
    Polled { terminal: bool, prompted: bool },
    /// A poll failed.
    PollFailed(Fault),
    /// The time of [`Machine::wake_at`] has come.
    Elapsed,
}

/// How a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A later poll may succeed.
    Transient,
    /// The daemon does not know the job.
    NotFound,
    /// No later poll will succeed.
    Permanent,
}

/// What the machine needs to know beside the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The submission is registered for webhooks.
    pub(crate) webhooks: bool,
    /// The daemon supports idempotency keys.
    pub(crate) idempotency: bool,
    /// The job id is from an event, and no response has confirmed it.
    pub(crate) named_by_event: bool,
    /// The id of the job is known, if only from an event.
    pub(crate) is_named: bool,
    /// An event has named the job, and the daemon has asked to send no submissions now.
    pub(crate) paused: bool,
    /// When the response to the submission was lost.
    pub(crate) lost_at: Option<Duration>,
}

/// What the wait does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until the next event.
    Wait,
    /// Send the submission.
    Send,
    /// Take the right to send what may have arrived, and send it again.
    Resend,
    /// Treat the response to the submission as lost, whichever wait sends it.
    PresumeLost,
    /// Start to poll.
    Poll,
    /// Start to poll, with a pause if webhooks work.
    PollLater,
    /// Poll without a pause.
    PollNow,
    /// Poll afresh, for the last time.
    PollFinally,
    /// End with the result.
    Finish,
    /// End with an error.
    Fail(Failure),
}

/// The error that a wait ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The error of the submission.
    Submission,
    /// The response to the submission was lost.
    Lost,
    /// The error of the last poll.
    Poll,
    Deadline,
    ShuttingDown,
}

impl Fault {
    pub(crate) fn of(error: &Error) -> Self {
        if error.is_not_found() {
            return Self::NotFound;
        }
        let permanent = error.is_auth() || error.is_rejected() || error.is_invalid();
        if permanent || matches!(error.kind(), Kind::TooLarge(_)) { Self::Permanent } else { Self::Transient }
    }
}

/// The time limits of a wait, beside its deadline.
#[derive(Debug, Clone)]
pub(crate) struct WaitLimits {
    /// How long all polls may fail.
    pub(crate) failure_budget: Duration,
    /// How long after the submission the daemon may answer 404.
    pub(crate) not_found_grace: Duration,
    /// How long after a lost response an event may still name the job.
    pub(crate) lost_response_window: Duration,
    /// How long the final poll at the deadline may take. `None`: by the deadline.
    pub(crate) final_poll_timeout: Option<Duration>,
}
