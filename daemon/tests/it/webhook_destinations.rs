//! Receivers that do not respond delay no other receiver.

use foreman_daemon::Daemon;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::raw::submit_to;
use super::receiver::Receiver;
use crate::eventually::bounded;

/// A receiver that accepts connections and never responds.
async fn silent() -> (String, UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, connections) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    (url, connections)
}

#[tokio::test]
async fn silent_receiver_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for stored in [false, true] {
        let mut builder = Daemon::builder().webhooks_at_once(8);
        if stored {
            builder = builder.store(folder.path().join("jobs.db"));
        }
        let daemon = builder.start().await.unwrap();
        let (url, mut attempts) = silent().await;
        for _ in 0..40 {
            submit_to(&daemon, &url).await;
        }
        // A quarter of those in all. They hang until the test ends.
        let _hanging = (attempts.recv().await.unwrap(), attempts.recv().await.unwrap());
        let mut healthy = Receiver::start(&[]).await;
        for _ in 0..3 {
            submit_to(&daemon, &healthy.url).await;
        }
        let mut states = bounded(healthy.states(9)).await;
        states.sort();
        assert_eq!(states, ["done", "done", "done", "queued", "queued", "queued", "running", "running", "running"]);
        assert!(attempts.is_empty());
        assert_eq!(daemon.stats().webhook_attempts, 11);
    }
}
