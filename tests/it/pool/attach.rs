//! Attaching by a handle, and by an id alone.

use foreman_client::{JobHandle, Pool};

use super::{pool, settle};
use crate::support::{Fault, PoolDaemon, bounded_paused, job_id, request, seconds};

fn daemons() -> [PoolDaemon; 2] {
    ["a", "b"].map(|name| PoolDaemon::new(name, seconds(5)))
}

#[tokio::test(start_paused = true)]
async fn handle_survives_a_restart_as_a_string() {
    let daemons = daemons();
    let before = pool(&daemons).await;
    settle().await;
    let request = request();
    let waiting = tokio::spawn(before.submit(request.clone()));
    let submission = request.submission();
    bounded_paused(submission.accepted()).await.unwrap();
    let stored = submission.job_handle().unwrap().to_string();
    waiting.abort();
    drop((before, request));

    let after = pool(&daemons).await;
    let handle: JobHandle = stored.parse().unwrap();
    let result = bounded_paused(after.wait(&handle)).await.unwrap();
    assert_eq!(result.job_handle(), Some(handle.clone()));
    assert_eq!(after.client(&handle).unwrap().status(handle.job_id()).await.unwrap().job_id, *handle.job_id());
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_daemon_outside_of_the_pool_is_an_error() {
    let pool = pool(&daemons()).await;
    let handle: JobHandle = "http://c.test/jobs/7".parse().unwrap();
    let error = bounded_paused(pool.wait(&handle)).await.unwrap_err();
    assert!(error.is_daemon_gone(), "{error}");
    assert_eq!(error.job_handle(), Some(handle.clone()));
    assert!(pool.client(&handle).is_none());
}

#[tokio::test(start_paused = true)]
async fn bare_id_is_looked_for_everywhere() {
    let daemons = daemons();
    let one = Pool::from_clients([daemons[1].client().await]).unwrap();
    bounded_paused(one.submit(request())).await.unwrap();
    let pool = pool(&daemons).await;
    let found = bounded_paused(pool.find(&job_id("1"))).await.unwrap();
    assert_eq!(found.to_string(), "http://b.test/jobs/1");
    assert!(bounded_paused(pool.find(&job_id("2"))).await.unwrap_err().is_not_found());

    // A daemon that does not respond may have the job.
    daemons[0].set_fault(Fault::Refuse);
    assert_eq!(bounded_paused(pool.find(&job_id("1"))).await.unwrap(), found);
    let error = bounded_paused(pool.find(&job_id("2"))).await.unwrap_err();
    assert_eq!((error.is_connect(), error.daemon()), (true, Some("http://a.test")));
}

#[tokio::test(start_paused = true)]
async fn id_of_two_daemons_is_ambiguous() {
    let daemons = daemons();
    for daemon in &daemons {
        let pool = Pool::from_clients([daemon.client().await]).unwrap();
        bounded_paused(pool.submit(request())).await.unwrap();
    }
    let error = bounded_paused(pool(&daemons).await.find(&job_id("1"))).await.unwrap_err().to_string();
    assert!(
        error.contains("several daemons have a job 1")
            && error.contains("http://a.test")
            && error.contains("http://b.test"),
        "{error}"
    );
}

/// Each of them answers for each job.
#[tokio::test(start_paused = true)]
async fn job_of_a_shared_queue_is_found_at_a_daemon_that_is_available() {
    let first = PoolDaemon::new("a", seconds(5)).created_at("2026-01-02T03:04:05.678Z");
    let pool = pool([&first, &first.sharing_queue("b"), &first.sharing_queue("c")]).await;
    settle().await;
    let result = bounded_paused(pool.submit(request())).await.unwrap();
    let found = bounded_paused(pool.find(result.job_id())).await.unwrap();
    assert_eq!(found.to_string(), "http://a.test/jobs/1");
    let client = pool.client(&found).unwrap();
    client.shutdown(seconds(1)).await;
    let found = bounded_paused(pool.find(result.job_id())).await.unwrap();
    assert_eq!(found.to_string(), "http://b.test/jobs/1");
    assert!(bounded_paused(pool.wait(&found)).await.unwrap().is_success());
}

/// Ids that a daemon counts. Its jobs were created at other times than those of the next one.
#[tokio::test(start_paused = true)]
async fn same_id_of_separate_queues_is_ambiguous() {
    let daemons = [("a", "2026-01-02T03:04:05Z"), ("b", "2026-01-02T03:04:06Z")]
        .map(|(name, time)| PoolDaemon::new(name, seconds(5)).created_at(time));
    for daemon in &daemons {
        bounded_paused(Pool::from_clients([daemon.client().await]).unwrap().submit(request())).await.unwrap();
    }
    let error = bounded_paused(pool(&daemons).await.find(&job_id("1"))).await.unwrap_err();
    assert!(error.is_bad_response() && error.to_string().contains("several daemons have a job 1"), "{error}");
}

/// A job is visible to the token that submitted it.
#[tokio::test(start_paused = true)]
async fn handle_finds_the_client_whose_token_has_the_job() {
    let job: JobHandle = "http://a.test/jobs/1".parse().unwrap();
    for first in [Fault::None, Fault::Unauthorized] {
        // What one daemon is to each of two tokens.
        let tokens = ["one", "two"].map(|token| (token, PoolDaemon::new("a", seconds(5))));
        let mut clients = Vec::new();
        for (token, daemon) in &tokens {
            clients.push(daemon.builder().token(*token).build_with(daemon.clone()).await.unwrap());
        }
        bounded_paused(clients[1].submit(request())).await.unwrap();
        tokens[0].1.set_fault(first);
        let pool = Pool::from_clients(clients).unwrap();
        assert!(bounded_paused(pool.wait(&job)).await.unwrap().is_success());
        let unknown: JobHandle = "http://a.test/jobs/2".parse().unwrap();
        let error = bounded_paused(pool.wait(&unknown)).await.unwrap_err();
        assert_eq!((error.is_not_found(), error.is_auth()), (first == Fault::None, first != Fault::None));
    }
}
