use std::time::Duration;

/// Returns when that is so. It is looked at again whenever the runtime has done something else meanwhile; the time is only there
/// so that a test which fails ends.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap_or_else(|_| panic!("never {what}"));
}
