use foreman_client::JobStatus;
use serde_json::json;

use super::child::WORKERS;
use super::killed::Hooks;
use super::member::Member;
use super::network::Network;
use super::postgres_server::PostgresServer;
use super::raw::{RawResponse, accepted};

/// One box is beside the database. The network cuts the other one off, and comes back.
pub(crate) async fn test() {
    let network = Network::new();
    let Some(server) = PostgresServer::start_in_network(network.left.process()) else { return };
    let schema = server.schema();
    let url = |name| server.url_at(network.left.address, &schema, name);
    let (hooks, hook) = Hooks::start(network.left.router, end).await;
    let mut far = Member::start(&network.right, &url("far"), "far").await;
    let stopped = accepted(&far.submit(&hook, "stopped").await);
    let late = accepted(&far.submit(&hook, "late").await);
    far.has_begun(2).await;
    let mut near = Member::start(&network.left, &url("near"), "near").await;

    network.cut();
    // The database does not hear of it.
    far.end(&late).await;
    far.has(&format!("ended {late} 1")).await;
    let job = format!("/jobs/{stopped}");
    let (read, listed, submitted) = tokio::join!(far.get(&job), far.get("/jobs"), far.submit(&hook, "refused"));
    for refused in [read, listed, submitted, far.submit(&hook, "refused").await] {
        is_refused(&refused);
    }
    far.has(&format!("stopped {stopped} 1")).await;
    for job in [&stopped, &late] {
        near.has(&format!("began {job} 2")).await;
        near.end(job).await;
    }
    let problems =
        async { while far.until_status("/readyz", 503).await.json()["problems"] != json!(["store", "lease"]) {} };
    problems.await;
    assert_eq!(far.get("/healthz").await.status, 200);
    is_refused(&far.get(&job).await);
    let other = accepted(&near.submit(&hook, "refused").await);
    near.has(&format!("began {other} 1")).await;
    near.end(&other).await;

    network.restore();
    far.until_status("/readyz", 200).await;
    assert_eq!(accepted(&far.submit(&hook, "refused").await), other);
    // Each worker has one, so that none still has a job from before.
    let mut jobs = vec![(late, "near 2"), (stopped, "near 2"), (other, "near 1")];
    for number in 0..2 * WORKERS {
        accepted(&far.submit(&hook, &format!("after-{number}")).await);
    }
    let (of_far, of_near) = (far.has_begun(2 + WORKERS).await, near.has_begun(3 + WORKERS).await);
    for job in &of_far[2..] {
        far.end(job).await;
        jobs.push((job.clone(), "far 1"));
    }
    for job in &of_near[3..] {
        near.end(job).await;
        jobs.push((job.clone(), "near 1"));
    }
    for (job, result) in &jobs {
        let attempt = result.rsplit_once(' ').unwrap().1;
        let expected = format!("done {attempt} {result:?}");
        let told = hooks.wait(|received| received.get(job).cloned().ok_or_else(|| format!("no end of {job}"))).await;
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [expected.as_str()]);
        let (one, two) =
            (far.get(&format!("/jobs/{job}")).await.json(), near.get(&format!("/jobs/{job}")).await.json());
        assert_eq!(one, two);
        assert_eq!(end(&serde_json::from_value(one).unwrap()), Some(expected));
    }
    hooks.look(|received| assert!(received.values().all(|ends| ends.len() == 1), "{received:?}"));
    assert_eq!(server.sql_in(&schema, "SELECT count(*) FROM jobs"), jobs.len().to_string());
}

/// The state, the attempt and the result of a job that has ended.
fn end(status: &JobStatus) -> Option<String> {
    let result = status.result.as_ref().map_or("", |result| result.get());
    status.state.is_terminal().then(|| format!("{} {} {result}", status.state, status.attempt))
}

/// The daemon cannot say now, and may be asked again.
fn is_refused(response: &RawResponse) {
    assert!(response.status == 503 && response.header("retry-after").is_some(), "{response:?}");
}
