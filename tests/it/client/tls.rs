//! `https`, by the roots of the operating system: in a process of its own, whose root is one made here.

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;

use foreman_client::Client;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Names the URL, in the process that is the client.
const URL: &str = "FOREMAN_CLIENT_TEST_TLS_URL";
/// What the child says of the protocol that was spoken, or of why there was none.
const SAID: &str = "models said: ";

async fn models(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    Ok(Response::new(Full::from(format!(r#"{{"models":[{{"name":"{version}"}}]}}"#))))
}

/// Serves one connection with a certificate of its own, speaking what is offered; gives the port and the certificate.
async fn serve(protocol: &'static str) -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.into()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let (stream, service) = (TokioIo::new(stream), service_fn(models));
        // How the connection ends is the client's affair.
        if protocol == "h2" {
            let _ =
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
        }
    });
    (port, cert.pem())
}

/// Runs this test again as a client whose root certificates are `roots`; gives what it said.
async fn client(port: u16, roots: &str) -> String {
    let file = std::env::temp_dir().join(format!("foreman-client-roots-{}-{port}.pem", std::process::id()));
    std::fs::write(&file, roots).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "client::tls::https_is_spoken_by_the_roots_of_the_system", "--nocapture"]);
    child.env(URL, format!("https://localhost:{port}")).env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    std::fs::remove_file(file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.split_once(SAID)).unwrap_or_else(|| panic!("{said}"));
    line.1.to_owned()
}

#[tokio::test]
async fn https_is_spoken_by_the_roots_of_the_system() {
    if let Ok(url) = std::env::var(URL) {
        let client = Client::builder(url).polling().build().await.unwrap();
        match client.models().await {
            Ok(models) => println!("{SAID}{}", models[0].name),
            Err(error) => println!("{SAID}{error}, unsent {}", error.is_safe_to_resubmit()),
        }
        return;
    }
    for (protocol, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let (port, certificate) = serve(protocol).await;
        assert_eq!(client(port, &certificate).await, version);
    }
    let (port, _) = serve("h2").await;
    let (_, stranger) = serve("h2").await;
    let said = client(port, &stranger).await;
    assert!(said.ends_with("cannot connect to the daemon, unsent true"), "{said}");
}
