use foreman_client::Notifier;
use foreman_client::source::RefusalReason;
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::bounded;

#[tokio::test]
async fn listener_responds_until_shutdown() {
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::new(notifier.clone());
    let listener = WebhookListener::builder(receiver).bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut stream = bounded(TcpStream::connect(listener.local_addr())).await.unwrap();
    stream.write_all(b"POST /unknown HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n").await.unwrap();
    let mut response = String::new();
    bounded(stream.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    assert_eq!(notifier.stats().refused(RefusalReason::UnknownToken), 1);
    drop(stream);
    bounded(listener.shutdown()).await;
    // A second shutdown does nothing.
    bounded(listener.shutdown()).await;
    bounded(TcpStream::connect(listener.local_addr())).await.unwrap_err();
}

#[test]
fn listener_is_send_and_sync() {
    fn assert_shared<T: Send + Sync + std::fmt::Debug + 'static>() {}
    fn assert_send<T: Send>(_: T) {}
    assert_shared::<WebhookListener>();
    let builder = WebhookListener::builder(WebhookReceiver::new(Notifier::new()));
    assert_send(builder.bind(([127, 0, 0, 1], 0).into()));
}
