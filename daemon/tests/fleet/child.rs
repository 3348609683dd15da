//! A daemon of the fleet.

use std::time::Duration;

use foreman_daemon::{Backend, BoxError, Chat, ChatResponse, Daemon};
use tower::service_fn;

/// The shortest that a daemon may have, so that a round is short.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// How long a job runs, so that there are running jobs at each fault.
const RUN: Duration = Duration::from_millis(20);

/// Serves until it is killed. The result of a job is the number of its attempt.
pub(crate) async fn serve(url: &str, name: &str) {
    let backend = service_fn(|chat: Chat| async move {
        tokio::time::sleep(RUN).await;
        Ok::<_, BoxError>(ChatResponse::from_value(&chat.attempt())?)
    });
    let daemon = Daemon::builder()
        .postgres(url)
        .name(name)
        .lease(LEASE)
        .backend(Backend::new(backend))
        .workers(4)
        .max_queue(usize::MAX)
        .attempts(1 << 40)
        .webhook_retries([Duration::from_millis(100); 600])
        .start()
        .await
        .unwrap();
    println!("{}", daemon.url());
    std::future::pending::<()>().await;
}
