//! The daemon process that is killed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use foreman_daemon::BoxError;
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use tower::service_fn;

/// Serves until it is killed. Each attempt writes the job id to `log` before it ends.
pub(crate) async fn serve(store: &Path, log: &Path) {
    let log = Arc::new(OpenOptions::new().append(true).create(true).open(log).unwrap());
    let backend = service_fn(move |chat: Chat| {
        let log = Arc::clone(&log);
        async move {
            (&*log).write_all(format!("{}\n", chat.job_id()).as_bytes())?;
            Ok::<_, BoxError>(ChatResponse::from_value("ok")?)
        }
    });
    let daemon = Daemon::builder()
        .store(store)
        .backend(Backend::new(backend))
        .workers(4)
        .max_queue(usize::MAX)
        .attempts(u64::MAX)
        .start()
        .await
        .unwrap();
    println!("{}", daemon.url());
    std::future::pending::<()>().await;
}
