use std::time::Duration;

use clap::Args;
use foreman_daemon::Builder;

use crate::duration;

/// The options of the queue and of what is stored.
#[derive(Args)]
pub(super) struct QueueArgs {
    /// The maximum number of queued jobs; further submissions are rejected with 429
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    max_queue: usize,
    /// The maximum number of queued jobs of one token; further submissions are rejected with 429 [default: three quarters of --max-queue if
    /// there are several tokens]
    #[arg(long, value_name = "N")]
    max_queue_per_token: Option<usize>,
    /// The maximum number of jobs of one token that run at once; its others stay queued while jobs of other tokens run [default: that of
    /// --workers]
    #[arg(long, value_name = "N")]
    max_running_per_token: Option<usize>,
    /// The maximum number of submissions of one token in a second, all of which may come at once; any other is rejected with 429 [default:
    /// no limit]
    #[arg(long, value_name = "N")]
    max_submissions_per_token: Option<u32>,
    /// The maximum number of bytes that jobs in memory have together, with their results and 1 KiB each; further submissions are rejected
    /// with 429.
    /// Without effect if --store is a file
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    memory_budget: usize,
    /// The maximum number of jobs of one model that run in a row while jobs of other models or tokens wait, so that a GPU loads models
    /// less often; 1 is first in, first out for the jobs of one token
    #[arg(long, default_value_t = 8, value_name = "N")]
    model_batch: usize,
    /// The maximum number of attempts to run a job; a job is retried after a transient failure and after a crash. Attempts do not count
    /// if the backend was unavailable or the daemon was stopped; `attempt` in the status of a job has them too
    #[arg(long, default_value_t = 3, value_name = "N")]
    attempts: u64,
    /// How long jobs and their idempotency keys are kept after a job has ended, such as 30m or 24h
    #[arg(long, default_value = "24h", value_parser = duration::parse, value_name = "DURATION")]
    keep: Duration,
}

impl QueueArgs {
    pub(super) fn apply(self, builder: Builder) -> Builder {
        let builder = builder
            .max_queue(self.max_queue)
            .memory_budget(self.memory_budget)
            .model_batch(self.model_batch)
            .attempts(self.attempts)
            .keep(self.keep);
        let builder = self.max_queue_per_token.into_iter().fold(builder, Builder::max_queue_per_token);
        let builder = self.max_running_per_token.into_iter().fold(builder, Builder::max_running_per_token);
        self.max_submissions_per_token.into_iter().fold(builder, Builder::max_submissions_per_token)
    }
}
