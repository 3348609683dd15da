use foreman_client::Notifier;
use foreman_client::source::RefusalReason;
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_listener_answers_and_stops() {
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::new(notifier.clone());
    let listener = WebhookListener::builder(receiver).bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    stream.write_all(b"POST /nobody HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!(notifier.stats().refused(RefusalReason::UnknownToken), 1);
    drop(stream);
    listener.shutdown().await;
    // Once more is harmless.
    listener.shutdown().await;
    TcpStream::connect(listener.local_addr()).await.unwrap_err();
}

#[test]
fn what_a_client_holds_can_go_anywhere() {
    fn anywhere<T: Send + Sync + std::fmt::Debug + 'static>() {}
    fn sent<T: Send>(_: T) {}
    anywhere::<WebhookListener>();
    let builder = WebhookListener::builder(WebhookReceiver::new(Notifier::new()));
    sent(builder.bind(([127, 0, 0, 1], 0).into()));
}
