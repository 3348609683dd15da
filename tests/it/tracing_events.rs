//! The events that the crate emits to `tracing`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::level_filters::LevelFilter;

use crate::support::{WebhookHarness, request, spawn_wait};

/// What a subscriber has written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The line of the only event with this message.
    fn line(&self, message: &str) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(message)).collect();
        assert_eq!(lines.len(), 1, "{message}: {text}");
        lines[0].to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn events_name_the_job_and_no_callback_url() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut harness = WebhookHarness::signed();
    let request = request();
    let key = request.submission().idempotency_key();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.fail(io::ErrorKind::ConnectionReset);
    harness.daemon.settle().await;
    harness.event(&url, "7", "running").await;
    harness.forged_event(&url, "7", "done").await;
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());

    assert!(log.line("job accepted").contains(&format!("job_id=7 idempotency_key={key}")));
    let failed = log.line("poll failed");
    assert!(failed.contains("job_id=7") && failed.contains("error.sources=[connection reset]"), "{failed}");
    assert!(log.line("webhook accepted").contains("job_id=7 state=\"running\""));
    assert!(log.line("webhook refused").contains("reason="));
    let (_, token) = url.rsplit_once('/').unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains(token) && !text.contains("here.test"), "{text}");
}
