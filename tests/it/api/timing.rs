//! How long an exchange may last.

use std::time::Duration;

use foreman_client::JobId;
use foreman_client::api::{Call, GetJob, ListModels};
use tower::ServiceExt;

use crate::support::{AnswerBody, Asked, Daemon, seconds};

fn poll() -> GetJob {
    GetJob::new(JobId::new("7").unwrap())
}

/// Makes a call whose answer never ends; the time until it is given up.
async fn given_up<C: Call>(limit: Option<Duration>, call: C, answer: impl FnOnce(Asked) -> Option<Asked>) -> Duration {
    let (mut api, mut daemon) = Daemon::new();
    if let Some(limit) = limit {
        api = api.request_timeout(limit).unwrap();
    }
    let held = async { answer(daemon.next().await) };
    let (result, kept) = tokio::join!(api.oneshot(call), async {
        let kept = held.await;
        tokio::time::sleep(seconds(1_000)).await;
        kept
    });
    drop(kept);
    let error = result.err().unwrap();
    assert!(
        error.is_timeout() && error.is_retryable() && !error.is_safe_to_resubmit() && !error.is_deadline(),
        "{error}"
    );
    let text = error.to_string();
    let (_, limit) = text.split_once(": no complete response within ").unwrap();
    let limit = limit.strip_suffix('s').unwrap().parse().unwrap();
    Duration::from_secs_f64(limit)
}

#[tokio::test(start_paused = true)]
async fn an_exchange_is_given_up_at_its_time_out_whatever_is_missing() {
    let head_only = |asked: Asked| {
        asked.answer(200, AnswerBody::from("{\"models\":").then_silence());
        None
    };
    assert_eq!(given_up(None, ListModels, Some).await, seconds(30));
    assert_eq!(given_up(None, ListModels, head_only).await, seconds(30));
    assert_eq!(given_up(Some(seconds(2)), ListModels, head_only).await, seconds(2));
    assert_eq!(given_up(Some(seconds(2)), poll(), Some).await, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_may_last_as_much_longer_as_it_is_held() {
    assert_eq!(given_up(Some(seconds(2)), poll().wait(seconds(20)), Some).await, seconds(22));

    let (api, mut daemon) = Daemon::new();
    let held = tokio::spawn(api.request_timeout(seconds(2)).unwrap().oneshot(poll().wait(seconds(20))));
    let asked = daemon.get().await;
    tokio::time::sleep(Duration::from_millis(21_999)).await;
    asked.tell("done");
    assert_eq!(held.await.unwrap().unwrap().status.state.as_str(), "done");
}

#[tokio::test(start_paused = true)]
async fn the_time_out_comes_when_it_says() {
    let (api, mut daemon) = Daemon::new();
    let call = tokio::spawn(api.request_timeout(seconds(3)).unwrap().oneshot(ListModels));
    let _asked = daemon.get().await;
    assert!(call.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(daemon.clock(), seconds(3));
}

#[test]
fn limits_of_nothing_are_refused_by_name() {
    let error = Daemon::new().0.request_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "invalid request_timeout: must not be zero");
    let error = Daemon::new().0.max_response_size(0).unwrap_err();
    assert_eq!(error.to_string(), "invalid max_response_size: must not be zero");
}
