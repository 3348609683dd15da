//! How long the webhook listener of a client stays open.

use std::time::Duration;

use foreman_client::source::PollPolicy;
use foreman_client::{Client, SubmitRequest};
use foreman_daemon::{Daemon, Echo};
use tower::ServiceExt as _;

const SECRET: &str = "It's a Secret to Everybody";

#[tokio::test]
async fn service_outlives_its_client_with_webhooks() {
    let echo = Echo::new().delay(Duration::from_millis(20));
    let daemon = Daemon::builder().backend(echo).webhook_secret(SECRET).start().await.unwrap();
    // Without webhooks, the second poll would come after an hour.
    let hour = Duration::from_secs(3600);
    let policy = PollPolicy::builder().min_interval(hour).max_interval(hour).long_poll(Duration::ZERO).build().unwrap();
    let client = Client::builder(daemon.url()).webhook_secret(SECRET).poll_policy(policy).build().await.unwrap();
    let jobs = client.jobs();
    drop(client);
    let request = SubmitRequest::builder("echo").user("hi").build().unwrap();
    let wait = jobs.clone().oneshot(request);
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap();
    assert_eq!(jobs.stats().finished_by_webhook, 1);
}

#[tokio::test]
async fn listener_closes_with_last_user() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let address = client.webhook_url().unwrap().strip_prefix("http://").unwrap().to_owned();
    let jobs = client.jobs();
    drop(client);
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(jobs);
    let closed = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
}
