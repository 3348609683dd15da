//! Several addresses of one queue, on real sockets.

use foreman_client::Client;
use foreman_daemon::{Daemon, Echo};

use crate::postgres_server::server;
use crate::support::{TcpForwarder, bounded, gated_daemon, request, unbound_address};

/// A client that reaches a daemon by a forwarder, until that is cut.
async fn behind_forwarder(daemon: &Daemon, other: String) -> (Client, TcpForwarder) {
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    let client = Client::builder(forwarder.url()).other_addresses([other]).polling();
    (client.build().await.unwrap(), forwarder)
}

#[tokio::test]
async fn waits_end_with_their_own_jobs_when_the_address_in_use_dies() {
    let (gate, daemon) = gated_daemon(Daemon::builder().workers(4)).await;
    let (client, forwarder) = behind_forwarder(&daemon, daemon.url()).await;
    let request = request();
    let submission = request.submission();
    let wait = tokio::spawn(client.submit(request));
    gate.run_started().await;
    let job_id = bounded(submission.accepted()).await.unwrap();
    let attached = tokio::spawn(client.wait(&job_id));
    forwarder.cut();
    gate.open(1);
    for wait in [bounded(wait).await, bounded(attached).await] {
        let result = wait.unwrap().unwrap();
        assert_eq!((result.job_id(), result.daemon()), (&job_id, Some(forwarder.url().as_str())));
    }
    assert_eq!(daemon.stats().accepted, 1);
}

#[tokio::test]
async fn wait_ends_with_its_own_job_when_its_daemon_dies_and_another_runs_the_job() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let dying = Daemon::builder().postgres(&url).backend(Echo::new()).start().await.unwrap();
    let admin = Client::builder(dying.url()).polling().build().await.unwrap();
    // It takes no jobs.
    bounded(admin.drain_box(&admin.boxes().await.unwrap()[0].id)).await.unwrap();
    let (gate, other) = gated_daemon(Daemon::builder().postgres(&url)).await;
    // With the event stream, and with webhooks.
    let client = || Client::builder(dying.url()).other_addresses([other.url()]);
    let clients = [client().polling().build().await.unwrap(), client().build().await.unwrap()];
    let mut waits = Vec::new();
    for client in &clients {
        let request = request();
        let submission = request.submission();
        let wait = tokio::spawn(client.submit(request));
        let job_id = bounded(submission.accepted()).await.unwrap();
        waits.push((job_id, wait));
    }
    assert_eq!((dying.stats().accepted, other.stats().accepted), (2, 0));
    gate.run_started().await;
    drop(dying);
    gate.open(2);
    for ((job_id, wait), client) in waits.into_iter().zip(&clients) {
        assert_eq!(bounded(wait).await.unwrap().unwrap().job_id(), &job_id);
        assert!(bounded(client.wait(&job_id)).await.unwrap().is_success());
        bounded(client.models()).await.unwrap();
    }
}

#[tokio::test]
async fn daemon_of_another_queue_gets_no_job() {
    let (gate, daemon) = gated_daemon(Daemon::builder()).await;
    let (_other_gate, other) = gated_daemon(Daemon::builder()).await;
    let (client, forwarder) = behind_forwarder(&daemon, other.url()).await;
    gate.open(1);
    bounded(client.submit(request())).await.unwrap();
    forwarder.cut();
    bounded(client.submit(request())).await.unwrap_err();
    assert_eq!(other.stats().accepted, 0);
}

#[tokio::test]
async fn client_with_a_dead_first_address_has_webhooks_of_the_other() {
    let daemon = Daemon::start().await.unwrap();
    let dead = format!("http://{}", unbound_address().await);
    let client = Client::builder(dead).other_addresses([daemon.url()]).build().await.unwrap();
    let result = bounded(client.submit(request())).await.unwrap();
    assert!(result.is_success());
    assert!(client.webhook_url().is_some());
    assert_eq!(client.addresses()[1].as_str(), daemon.url());
}
