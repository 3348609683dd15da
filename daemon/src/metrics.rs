use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::stats::Stats;

/// The media type of [`text`].
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a daemon has to do at the moment, in jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) queued: u64,
    /// Those that a worker has, the pauses between their attempts included.
    pub(super) running: u64,
}

/// What a daemon does and has done, as OpenMetrics: each field of [`Stats`] is a counter of its name.
pub(super) fn text(stats: &Stats, load: Load) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("foreman");
    for (name, help, count) in [
        ("accepted", "Submissions that became a job", stats.accepted),
        ("replayed", "Submissions that were answered with an earlier job", stats.replayed),
        ("refused", "Submissions that were refused since the queue was full", stats.refused),
        ("executions", "Calls of the backend for a chat", stats.executions),
        ("cancelled", "Jobs that were cancelled", stats.cancelled),
        ("polls", "Answers with the status of a job", stats.polls),
        ("webhook_attempts", "Webhooks that were sent, each repetition counted", stats.webhook_attempts),
        ("webhooks_delivered", "Webhooks that were answered with a 2xx", stats.webhooks_delivered),
        ("webhooks_given_up", "Webhooks that were given up", stats.webhooks_given_up),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    registry.register("queued_jobs", "Jobs that wait for a worker", ConstGauge::new(load.queued));
    registry.register("running_jobs", "Jobs that a worker has", ConstGauge::new(load.running));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_stands_under_its_name() {
        let stats = Stats {
            accepted: 1,
            replayed: 2,
            refused: 3,
            executions: 4,
            cancelled: 5,
            polls: 6,
            webhook_attempts: 7,
            webhooks_delivered: 8,
            webhooks_given_up: u64::MAX,
        };
        let text = text(&stats, Load { queued: 10, running: u64::MAX }).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "foreman_accepted_total 1",
                "foreman_replayed_total 2",
                "foreman_refused_total 3",
                "foreman_executions_total 4",
                "foreman_cancelled_total 5",
                "foreman_polls_total 6",
                "foreman_webhook_attempts_total 7",
                "foreman_webhooks_delivered_total 8",
                "foreman_webhooks_given_up_total 18446744073709551615",
                "foreman_queued_jobs 10",
                "foreman_running_jobs 18446744073709551615",
            ]
        );
        assert!(text.contains("# TYPE foreman_queued_jobs gauge\n"), "{text}");
        assert!(text.contains("# TYPE foreman_accepted counter\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
