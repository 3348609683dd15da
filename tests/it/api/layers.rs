//! Layers that box their errors, below and above the leaf.

use foreman_client::api::{Api, ListModels};
use foreman_client::{BoxError, Error};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::{Daemon, Http, seconds};

/// Calls twice at once; the first gets no answer.
async fn two<S>(service: S) -> [Error; 2]
where
    S: Service<ListModels, Error: Into<BoxError>> + Clone,
{
    let mut first = service.clone();
    let first = first.ready().await.map_err(Into::into).unwrap().call(ListModels);
    let second = service.oneshot(ListModels);
    let (first, second) = tokio::join!(first, second);
    [first, second].map(|result| Error::from_boxed(result.err().unwrap().into()))
}

fn http() -> (Http, Daemon) {
    // The daemon is told of by its URL alone: an `Api` of one's own is put over the same mock.
    let (http, handle) = tower_test::mock::pair();
    (http, Daemon::of(handle))
}

#[tokio::test(start_paused = true)]
async fn timeout_and_load_shed_above_the_leaf_are_un_nested() {
    let (http, _daemon) = http();
    let api = Api::new("http://daemon.test".parse().unwrap(), http);
    let stack = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(seconds(3)).service(api);
    let [timed_out, shed] = two(stack).await;
    assert!(timed_out.is_timeout() && !timed_out.is_safe_to_resubmit() && timed_out.is_retryable(), "{timed_out:?}");
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit() && shed.is_retryable(), "{shed:?}");
}

#[tokio::test(start_paused = true)]
async fn timeout_and_load_shed_below_the_leaf_are_un_nested() {
    let (http, _daemon) = http();
    let http = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(seconds(3)).service(http);
    let [timed_out, shed] = two(Api::new("http://daemon.test".parse().unwrap(), http)).await;
    assert!(timed_out.is_timeout() && !timed_out.is_safe_to_resubmit() && timed_out.is_retryable(), "{timed_out:?}");
    assert_eq!(timed_out.to_string(), "GET http://daemon.test/api/tags: timed out");
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit() && shed.is_retryable(), "{shed:?}");
    assert_eq!(shed.to_string(), "GET http://daemon.test/api/tags: overloaded");
}

#[tokio::test(start_paused = true)]
async fn a_stack_of_boxing_layers_gives_back_the_leafs_own_error() {
    let (api, mut daemon) = Daemon::new();
    let stack = ServiceBuilder::new().load_shed().load_shed().timeout(seconds(60)).service(api);
    let served = async { daemon.next().await.answer(422, r#"{"error":"no such model"}"#) };
    let (result, ()) = tokio::join!(stack.oneshot(ListModels), served);
    let error = Error::from_boxed(result.unwrap_err());
    assert!(error.is_rejected());
    assert_eq!(error.reason(), Some("no such model"));
}

#[test]
fn what_nobody_knows_is_an_error_of_a_service_with_its_cause() {
    let error = Error::from_boxed("the cat sat on the cable".into());
    assert_eq!(error.to_string(), "a service in the stack failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the cat sat on the cable");
    assert!(!error.is_safe_to_resubmit() && !error.is_retryable());
}
