//! The clients of a pool share one listener, and each daemon has a secret of its own.

use foreman_client::source::RefusalReason;
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{BoxError, Client, Pool};
use foreman_daemon::Daemon;
use futures_util::stream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::discover::Change;

use crate::support::{bounded, eventually, request};

/// An embedded daemon, and the secret that it signs with.
async fn daemon(secret: &str) -> Daemon {
    Daemon::builder().webhook_secret(secret).start().await.unwrap()
}

async fn client(daemon: &Daemon, webhooks: &WebhookEndpoint, secret: &str) -> Client {
    Client::builder(daemon.url()).webhooks(webhooks.clone()).webhook_secret(secret).build().await.unwrap()
}

async fn listen() -> WebhookEndpoint {
    WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Submits a job at each client.
async fn run_jobs(clients: &[Client]) {
    for client in clients {
        bounded(client.submit(request())).await.unwrap().into_success().unwrap();
    }
}

#[tokio::test]
async fn events_of_each_daemon_are_believed_by_its_own_secret() {
    let webhooks = listen().await;
    let daemons = [daemon("a").await, daemon("b").await, daemon("c").await];
    let mut clients = Vec::new();
    for (daemon, secret) in daemons.iter().zip(["a", "b", "c"]) {
        clients.push(client(daemon, &webhooks, secret).await);
    }
    assert!(clients.iter().all(|client| client.webhook_url() == Some(webhooks.public_url())));
    run_jobs(&clients).await;
    // Each job has a terminal event. A poll may find the result before it.
    let ends = || {
        let stats = webhooks.notifier().stats();
        stats.finished + stats.duplicates + stats.late >= 3
    };
    eventually("all ends are reported", ends).await;
    assert_eq!(webhooks.notifier().stats().refusals(), 0);
}

#[tokio::test]
async fn wrong_secret_of_one_daemon_leaves_its_jobs_to_polls() {
    let webhooks = listen().await;
    let daemons = [daemon("a").await, daemon("b").await];
    // The second client expects the secret of the first daemon.
    let clients = [client(&daemons[0], &webhooks, "a").await, client(&daemons[1], &webhooks, "a").await];
    run_jobs(&clients).await;
    let refused = || webhooks.notifier().stats().refused(RefusalReason::Signature) > 0;
    eventually("an event is refused", refused).await;
    assert_eq!(clients[1].stats().waits.finished_by_webhook, 0);
}

#[tokio::test]
async fn daemons_that_come_and_go_share_the_listener() {
    let webhooks = listen().await;
    let (a, b) = (daemon("a").await, daemon("b").await);
    let (changes, next) = mpsc::unbounded_channel::<Result<Change<u8, Client>, BoxError>>();
    let stream = stream::unfold(next, async |mut next: mpsc::UnboundedReceiver<_>| Some((next.recv().await?, next)));
    let pool = Pool::builder().discover(stream).unwrap();
    changes.send(Ok(Change::Insert(1, client(&a, &webhooks, "a").await))).unwrap();
    bounded(pool.submit(request())).await.unwrap();
    changes.send(Ok(Change::Insert(2, client(&b, &webhooks, "b").await))).unwrap();
    changes.send(Ok(Change::Remove(1))).unwrap();
    eventually("the daemons are replaced", || pool.stats().daemons.iter().map(|daemon| &daemon.url).eq([&b.url()]))
        .await;
    let result = bounded(pool.submit(request())).await.unwrap();
    assert_eq!(result.daemon(), Some(&*b.url()));
    eventually("both deliver", || a.stats().webhooks_delivered > 0 && b.stats().webhooks_delivered > 0).await;
    assert_eq!(webhooks.notifier().stats().refusals(), 0);
}

#[tokio::test]
async fn shared_listener_outlives_the_shutdown_of_a_client_and_closes_with_the_last_one() {
    let webhooks = listen().await;
    let address = webhooks.listener().unwrap().local_addr();
    let (a, b) = (daemon("a").await, daemon("b").await);
    let (first, last) = (client(&a, &webhooks, "a").await, client(&b, &webhooks, "b").await);
    drop(webhooks);
    bounded(first.shutdown(std::time::Duration::ZERO)).await;
    drop(first);
    bounded(last.submit(request())).await.unwrap();
    eventually("it delivers", || b.stats().webhooks_delivered > 0).await;
    bounded(TcpStream::connect(address)).await.unwrap();
    drop(last);
    // The address can be bound again once the listener's task has ended.
    let rebind = async {
        while WebhookEndpoint::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    bounded(rebind).await;
}
