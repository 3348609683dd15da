use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::stats::Stats;

/// The media type of [`text`].
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The current number of jobs by state.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) queued: u64,
    /// Jobs that a worker has, including those that wait between two attempts.
    pub(super) running: u64,
    pub(super) event_streams: u64,
    pub(super) boxes: BoxLoad,
    pub(super) backends: Vec<BackendLoad>,
}

/// The daemons that share the queue, and what this one does there.
#[derive(Debug)]
pub(super) struct BoxLoad {
    pub(super) all: usize,
    /// Those that take no jobs.
    pub(super) draining: usize,
    /// Whether this daemon takes no jobs.
    pub(super) is_draining: bool,
    /// In how many seconds the lease of this daemon ends. `None` without leases.
    pub(super) lease: Option<f64>,
}

/// The state of one backend.
#[derive(Debug)]
pub(super) struct BackendLoad {
    pub(super) name: String,
    pub(super) is_available: bool,
    /// As [`Load::running`].
    pub(super) running: u64,
    /// `None` before it has listed them.
    pub(super) models: Option<usize>,
    /// The names of those that are loaded; empty if that is not known.
    pub(super) loaded: Vec<String>,
}

/// Encodes counters and gauges as OpenMetrics. Each field of [`Stats`] is a counter of the same name.
pub(super) fn text(stats: &Stats, load: &Load) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("foreman");
    for (name, help, count) in [
        ("accepted", "Submissions that created a job", stats.accepted),
        ("replayed", "Submissions that returned an earlier job", stats.replayed),
        ("refused", "Submissions rejected with 429", stats.refused),
        ("executions", "Attempts: calls of the backend for a chat", stats.executions),
        ("done", "Jobs that ended as done", stats.done),
        ("failed", "Jobs that ended as failed, unless cancelled or late", stats.failed),
        ("cancelled", "Cancelled jobs", stats.cancelled),
        ("deadline_missed", "Jobs not started by their deadline", stats.deadline_missed),
        ("polls", "Successful status responses", stats.polls),
        ("webhook_attempts", "Webhook attempts, retries included", stats.webhook_attempts),
        ("webhooks_delivered", "Webhooks acknowledged with a 2xx", stats.webhooks_delivered),
        ("webhooks_given_up", "Webhooks given up", stats.webhooks_given_up),
        ("stream_events", "Events sent by event streams", stats.stream_events),
        ("stream_resets", "Event streams that lost events or could not continue", stats.stream_resets),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    registry.register("queued_jobs", "Jobs in the queue", ConstGauge::new(load.queued));
    registry.register("running_jobs", "Jobs that a worker has", ConstGauge::new(load.running));
    registry.register("event_streams", "Open event streams", ConstGauge::new(load.event_streams));
    registry.register("boxes", "Daemons that share the queue", ConstGauge::new(count(load.boxes.all)));
    registry.register("draining_boxes", "Daemons that take no jobs", ConstGauge::new(count(load.boxes.draining)));
    registry.register(
        "draining",
        "1 while this daemon takes no jobs",
        ConstGauge::new(i64::from(load.boxes.is_draining)),
    );
    if let Some(seconds) = load.boxes.lease {
        registry.register("lease_seconds", "Until the lease of this daemon ends", ConstGauge::new(seconds));
    }
    let (available, running) = (Labelled::default(), Labelled::default());
    let (models, loaded) = (Labelled::default(), Labelled::default());
    for backend in &load.backends {
        let labels = vec![("backend", backend.name.clone())];
        available.get_or_create(&labels).set(i64::from(backend.is_available));
        running.get_or_create(&labels).set(count(backend.running));
        if let Some(known) = backend.models {
            models.get_or_create(&labels).set(count(known));
        }
        for model in &backend.loaded {
            let labels = vec![("backend", backend.name.clone()), ("model", model.clone())];
            loaded.get_or_create(&labels).set(1);
        }
    }
    registry.register("backend_available", "1 unless jobs wait for the backend", available);
    registry.register("backend_running_jobs", "Jobs that a worker of the backend has", running);
    registry.register("backend_models", "Models that the backend lists", models);
    registry.register("backend_model_loaded", "1 for each model that the backend has loaded", loaded);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// A gauge for each backend.
type Labelled = Family<Vec<(&'static str, String)>, Gauge>;

fn count(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_name() {
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
            stream_events: 9,
            stream_resets: 10,
            deadline_missed: 11,
            done: 12,
            failed: 13,
        };
        let (name, loaded) = ("gpu\"1".to_owned(), vec!["m".to_owned()]);
        let backend = BackendLoad { name, is_available: false, running: u64::MAX, models: Some(7), loaded };
        let boxes = BoxLoad { all: 3, draining: 2, is_draining: true, lease: Some(1.5) };
        let load = Load { queued: 10, running: u64::MAX, event_streams: 11, boxes, backends: vec![backend] };
        let text = text(&stats, &load).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "foreman_accepted_total 1",
                "foreman_replayed_total 2",
                "foreman_refused_total 3",
                "foreman_executions_total 4",
                "foreman_done_total 12",
                "foreman_failed_total 13",
                "foreman_cancelled_total 5",
                "foreman_deadline_missed_total 11",
                "foreman_polls_total 6",
                "foreman_webhook_attempts_total 7",
                "foreman_webhooks_delivered_total 8",
                "foreman_webhooks_given_up_total 18446744073709551615",
                "foreman_stream_events_total 9",
                "foreman_stream_resets_total 10",
                "foreman_queued_jobs 10",
                "foreman_running_jobs 18446744073709551615",
                "foreman_event_streams 11",
                "foreman_boxes 3",
                "foreman_draining_boxes 2",
                "foreman_draining 1",
                "foreman_lease_seconds 1.5",
                "foreman_backend_available{backend=\"gpu\\\"1\"} 0",
                "foreman_backend_running_jobs{backend=\"gpu\\\"1\"} 9223372036854775807",
                "foreman_backend_models{backend=\"gpu\\\"1\"} 7",
                "foreman_backend_model_loaded{backend=\"gpu\\\"1\",model=\"m\"} 1",
            ]
        );
        assert!(text.contains("# TYPE foreman_queued_jobs gauge\n"), "{text}");
        assert!(text.contains("# TYPE foreman_accepted counter\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
