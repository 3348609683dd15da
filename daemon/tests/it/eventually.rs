use std::future::Future;
use std::time::Duration;

/// Waits until the condition holds. It is checked again after the runtime has run other tasks.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    within_a_minute(looking).await.unwrap_or_else(|_| panic!("never {what}"));
}

/// Fails a test that hangs. The duration is not an assertion.
pub(crate) async fn bounded<F: Future>(test: F) -> F::Output {
    within_a_minute(test).await.unwrap()
}

async fn within_a_minute<F: Future>(test: F) -> Result<F::Output, tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_secs(60), test).await
}
