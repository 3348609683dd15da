//! Request timeouts.

use std::time::Duration;

use foreman_client::api::{Call, GetJob, ListModels};
use tower::ServiceExt;

use crate::support::{ReceivedRequest, ScriptedBody, ScriptedDaemon, job_id, millis, seconds};

fn get_job() -> GetJob {
    GetJob::new(job_id("7"))
}

/// The timeout in the error of a call whose response never ends.
async fn timeout_of<C: Call>(
    limit: Option<Duration>,
    call: C,
    respond: impl FnOnce(ReceivedRequest) -> Option<ReceivedRequest>,
) -> Duration {
    let (mut api, mut daemon) = ScriptedDaemon::new();
    if let Some(limit) = limit {
        api = api.request_timeout(limit).unwrap();
    }
    let (result, unanswered) = tokio::join!(api.oneshot(call), async {
        let unanswered = respond(daemon.next().await);
        tokio::time::sleep(seconds(1_000)).await;
        unanswered
    });
    drop(unanswered);
    let error = result.err().unwrap();
    assert!(
        error.is_timeout() && error.is_retryable() && !error.is_safe_to_resubmit() && !error.is_deadline(),
        "{error}"
    );
    let text = error.to_string();
    let (_, limit) = text.split_once(": no complete response within ").unwrap();
    let limit = limit.strip_suffix(" s").unwrap().parse().unwrap();
    Duration::from_secs_f64(limit)
}

#[tokio::test(start_paused = true)]
async fn incomplete_exchange_times_out() {
    let head_only = |request: ReceivedRequest| {
        request.respond(200, ScriptedBody::from("{\"models\":").then_silence());
        None
    };
    assert_eq!(timeout_of(None, ListModels, Some).await, seconds(30));
    assert_eq!(timeout_of(None, ListModels, head_only).await, seconds(30));
    assert_eq!(timeout_of(Some(seconds(2)), ListModels, head_only).await, seconds(2));
    assert_eq!(timeout_of(Some(seconds(2)), get_job(), Some).await, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn long_poll_extends_timeout() {
    assert_eq!(timeout_of(Some(seconds(2)), get_job().wait(seconds(20)), Some).await, seconds(22));

    let (api, mut daemon) = ScriptedDaemon::new();
    let poll = tokio::spawn(api.request_timeout(seconds(2)).unwrap().oneshot(get_job().wait(seconds(20))));
    let received = daemon.next_get().await;
    tokio::time::sleep(millis(21_999)).await;
    received.respond_state("done");
    assert_eq!(poll.await.unwrap().unwrap().status.state.as_str(), "done");
}

#[tokio::test(start_paused = true)]
async fn timeout_expires_on_time() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let call = tokio::spawn(api.request_timeout(seconds(3)).unwrap().oneshot(ListModels));
    let _received = daemon.next_get().await;
    assert!(call.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(daemon.elapsed(), seconds(3));
}

#[test]
fn zero_limits_are_invalid() {
    let error = ScriptedDaemon::new().0.request_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "invalid request_timeout: must not be zero");
    let error = ScriptedDaemon::new().0.max_response_size(0).unwrap_err();
    assert_eq!(error.to_string(), "invalid max_response_size: must not be zero");
}
