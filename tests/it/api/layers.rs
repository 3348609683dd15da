//! Layers that box their errors, above and below `Api`.

use foreman_client::api::{Api, ListModels};
use foreman_client::{BoxError, Error};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::{ScriptedDaemon, bounded_paused, seconds};

/// Calls twice at the same time. The first call gets no response.
async fn call_twice<S>(service: S) -> [Error; 2]
where
    S: Service<ListModels, Error: Into<BoxError>> + Clone,
{
    let mut first = service.clone();
    let first = first.ready().await.map_err(Into::into).unwrap().call(ListModels);
    let second = service.oneshot(ListModels);
    let (first, second) = bounded_paused(async { tokio::join!(first, second) }).await;
    [first, second].map(|result| Error::from_boxed(result.err().unwrap().into()))
}

#[tokio::test(start_paused = true)]
async fn outer_timeout_and_load_shed_are_unboxed() {
    let (http, _daemon) = ScriptedDaemon::with_http();
    let api = Api::new("http://daemon.test".parse().unwrap(), http);
    let stack = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(seconds(3)).service(api);
    let [timed_out, shed] = call_twice(stack).await;
    assert!(timed_out.is_timeout() && !timed_out.is_safe_to_resubmit() && timed_out.is_retryable(), "{timed_out:?}");
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit() && shed.is_retryable(), "{shed:?}");
}

#[tokio::test(start_paused = true)]
async fn inner_timeout_and_load_shed_are_unboxed() {
    let (http, _daemon) = ScriptedDaemon::with_http();
    let http = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(seconds(3)).service(http);
    let [timed_out, shed] = call_twice(Api::new("http://daemon.test".parse().unwrap(), http)).await;
    assert!(timed_out.is_timeout() && !timed_out.is_safe_to_resubmit() && timed_out.is_retryable(), "{timed_out:?}");
    assert_eq!(timed_out.to_string(), "GET http://daemon.test/api/tags: timed out");
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit() && shed.is_retryable(), "{shed:?}");
    assert_eq!(shed.to_string(), "GET http://daemon.test/api/tags: overloaded");
}

#[tokio::test(start_paused = true)]
async fn api_error_survives_boxing_layers() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let stack = ServiceBuilder::new().load_shed().load_shed().timeout(seconds(60)).service(api);
    let serve = async { daemon.next().await.respond(422, r#"{"error":"no such model"}"#) };
    let (result, ()) = bounded_paused(async { tokio::join!(stack.oneshot(ListModels), serve) }).await;
    let error = Error::from_boxed(result.unwrap_err());
    assert!(error.is_rejected());
    assert_eq!(error.reason(), Some("no such model"));
}

#[test]
fn unknown_error_becomes_service_error_with_cause() {
    let error = Error::from_boxed("an error of another crate".into());
    assert_eq!(error.to_string(), "a service in the stack failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "an error of another crate");
    assert!(!error.is_safe_to_resubmit() && !error.is_retryable());
}
