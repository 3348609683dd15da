//! `Transport`, the default HTTP client.

use foreman_client::Client;
use foreman_client::api::Transport;
use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::version_as_model;
use crate::support::{bounded, request, unbound_address};

#[tokio::test]
async fn http2_prior_knowledge() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(stream), service_fn(version_as_model)).await
    });
    let transport = Transport::builder().http2_prior_knowledge();
    let client = Client::builder(url).transport(transport).polling().build().await.unwrap();
    assert_eq!(bounded(client.models()).await.unwrap()[0].name, format!("{:?}", Version::HTTP_2));
    drop(client);
    server.abort();
}

#[tokio::test]
async fn refused_connection_is_unsent() {
    let url = format!("http://{}", unbound_address().await);
    let client = Client::builder(&url).polling().build().await.unwrap();
    let error = bounded(client.models()).await.unwrap_err();
    assert!(error.is_connect() && error.is_safe_to_resubmit() && error.is_retryable(), "{error}");
    assert_eq!(error.to_string(), format!("GET {url}/api/tags: cannot connect to the daemon"));
}

#[tokio::test]
async fn closed_connection_is_maybe_submitted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Read the whole request, so that the client has sent it.
        let mut received = Vec::new();
        while !received.ends_with(b"}") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the client closed the connection");
            received.extend_from_slice(&chunk[..count]);
        }
    });
    let client = Client::builder(&url).polling().build().await.unwrap();
    let error = bounded(client.submit(request())).await.unwrap_err();
    assert!(error.is_maybe_submitted() && !error.is_safe_to_resubmit() && error.may_be_running(), "{error}");
    assert!(error.idempotency_key().is_some());
    bounded(server).await.unwrap();
}
