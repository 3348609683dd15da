//! Where webhooks may go.

use foreman_client::daemon::{Builder, Daemon, WebhookHosts};

use super::raw::{ended, submit_to};
use super::receiver::Receiver;

fn only<const N: usize>(entries: [&str; N]) -> Builder {
    Daemon::builder().allow_webhook_hosts(WebhookHosts::new(entries).unwrap())
}

#[tokio::test]
async fn a_receiver_that_is_allowed_is_told() {
    for builder in [only(["127.0.0.0/8"]), only(["other", "127.0.0.1"]), Daemon::builder().private_webhooks(true)] {
        let mut receiver = Receiver::start(&[]).await;
        let daemon = builder.start().await.unwrap();
        submit_to(&daemon, &receiver.url).await;
        assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
    }
}

#[tokio::test]
async fn a_receiver_that_is_listed_by_name_is_told() {
    let mut receiver = Receiver::start(&[]).await;
    let daemon = only(["localhost"]).start().await.unwrap();
    submit_to(&daemon, &receiver.url.replace("127.0.0.1", "LocalHost")).await;
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
}

#[tokio::test]
async fn a_receiver_that_is_not_allowed_hears_nothing_and_its_job_goes_on() {
    let mapped = |url: &str| url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let as_is = |url: &str| url.to_owned();
    type Url = fn(&str) -> String;
    let tries: [(Builder, Url); 5] = [
        (only(["10.0.0.0/8", "localhost"]), as_is),
        (only(["localhost"]).private_webhooks(false), |url| url.replace("127.0.0.1", "localhost")),
        (Daemon::builder().private_webhooks(false), as_is),
        (Daemon::builder().private_webhooks(false), mapped),
        (only(["*.example.com"]), mapped),
    ];
    for (builder, spell) in tries {
        let receiver = Receiver::start(&[]).await;
        let daemon = builder.start().await.unwrap();
        let id = submit_to(&daemon, &spell(&receiver.url)).await;
        assert_eq!(ended(&daemon, &id).await["state"], "done");
        while daemon.stats().webhooks_given_up == 0 {
            tokio::task::yield_now().await;
        }
        let stats = daemon.stats();
        assert_eq!((stats.webhook_attempts, stats.webhooks_delivered, stats.webhooks_given_up), (1, 0, 1));
        assert!(receiver.is_empty());
    }
}
