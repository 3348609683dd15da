//! Connections that are reset during a submission, on real sockets.

use foreman_client::api::{Api, BaseUrl, Transport};
use foreman_client::{Client, WaitLayer};
use foreman_daemon::Daemon;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::support::{Cut, ResettingProxy, bounded, eventually, fast_polls, fast_retries, request, unbound_address};

const CUTS: [Cut; 3] = [Cut::BeforeBody, Cut::BeforeResponse, Cut::WithinResponse];

fn jobs(proxy: &ResettingProxy) -> foreman_client::client::Jobs {
    let base: BaseUrl = proxy.url.parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let waits = WaitLayer::builder(api.clone()).poll_policy(fast_polls()).build().unwrap();
    ServiceBuilder::new().layer(waits).retry(fast_retries()).service(api)
}

#[tokio::test]
async fn reset_with_keys_runs_job_once() {
    for cut in CUTS {
        let daemon = Daemon::start().await.unwrap();
        let proxy = ResettingProxy::start(&daemon, false).await;
        let jobs = jobs(&proxy);
        bounded(jobs.clone().oneshot(request())).await.unwrap();
        proxy.cut(cut);
        let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
        assert_eq!(daemon.executions(result.job_id()).await, 1, "{cut:?}");
        let stats = daemon.stats();
        assert_eq!((stats.accepted, stats.executions), (2, 2), "{cut:?}");
        assert_eq!((proxy.posts(), stats.replayed), (3, u64::from(cut != Cut::BeforeBody)), "{cut:?}");
    }
}

#[tokio::test]
async fn reset_without_keys_is_maybe_submitted() {
    for cut in CUTS {
        let daemon = Daemon::start().await.unwrap();
        let proxy = ResettingProxy::start(&daemon, true).await;
        let jobs = jobs(&proxy);
        bounded(jobs.clone().oneshot(request())).await.unwrap();
        proxy.cut(cut);
        let error = bounded(jobs.clone().oneshot(request())).await.unwrap_err();
        assert!(error.is_maybe_submitted() && error.is_retryable(), "{cut:?}: {error}");
        assert_eq!(proxy.posts(), 2, "{cut:?}");
        let ran = if cut == Cut::BeforeBody { 1 } else { 2 };
        eventually("all jobs run", || daemon.stats().executions == ran).await;
    }
}

#[tokio::test]
async fn reset_is_recovered_by_first_event() {
    for cut in [Cut::BeforeResponse, Cut::WithinResponse] {
        let daemon = Daemon::start().await.unwrap();
        let proxy = ResettingProxy::start(&daemon, true).await;
        let client = Client::builder(&proxy.url).build().await.unwrap();
        proxy.cut(cut);
        let result = bounded(client.submit(request())).await.unwrap();
        assert_eq!(
            (daemon.executions(result.job_id()).await, daemon.stats().accepted, proxy.posts()),
            (1, 1, 1),
            "{cut:?}"
        );
        assert_eq!(client.stats().waits.lost_responses, 1);
    }
}

#[tokio::test]
async fn refused_connection_is_unsent() {
    let base: BaseUrl = format!("http://{}", unbound_address().await).parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let waits = WaitLayer::new(api.clone());
    let jobs = ServiceBuilder::new().layer(waits).retry(fast_retries()).service(api);
    let error = bounded(jobs.oneshot(request())).await.unwrap_err();
    assert!(error.is_connect() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error}");
}
