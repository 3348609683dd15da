//! The default HTTP client.

use std::convert::Infallible;

use foreman_client::Client;
use foreman_client::api::Transport;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

async fn models(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    Ok(Response::new(Full::from(format!(r#"{{"models":[{{"name":"{version}"}}]}}"#))))
}

#[tokio::test]
async fn http_2_is_spoken_from_the_first_byte_to_a_daemon_known_to_speak_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(stream), service_fn(models)).await
    });
    let transport = Transport::builder().http2_prior_knowledge();
    let client = Client::builder(url).transport(transport).polling().build().await.unwrap();
    assert_eq!(client.models().await.unwrap()[0].name, format!("{:?}", Version::HTTP_2));
    drop(client);
    server.abort();
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_surely_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(&url).polling().build().await.unwrap();
    let error = client.models().await.unwrap_err();
    assert!(error.is_connect() && error.is_safe_to_resubmit() && error.is_retryable(), "{error}");
    assert_eq!(error.to_string(), format!("GET {url}/api/tags: cannot connect to the daemon"));
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_may_have_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The whole request is read, so that the client has surely sent it.
        let mut read = Vec::new();
        while !read.ends_with(b"}") {
            use tokio::io::AsyncReadExt;
            let mut some = [0; 1024];
            let count = stream.read(&mut some).await.unwrap();
            read.extend_from_slice(&some[..count]);
        }
    });
    let client = Client::builder(&url).polling().build().await.unwrap();
    let request = foreman_client::SubmitRequest::builder("m").user("hi").build().unwrap();
    let error = client.submit(request).await.unwrap_err();
    assert!(error.is_maybe_submitted() && !error.is_safe_to_resubmit() && error.may_be_running(), "{error}");
    assert!(error.idempotency_key().is_some());
    server.await.unwrap();
}
