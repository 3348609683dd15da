//! `https` with the roots of the operating system. The client runs in a process of its own, with roots of the test.

use std::sync::Arc;

use foreman_client::Client;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::version_as_model;
use crate::support::bounded;

/// The daemon's URL, set in the child process.
const URL: &str = "FOREMAN_CLIENT_TEST_TLS_URL";
/// The prefix of the child's output line: the HTTP version or the error.
const OUTPUT: &str = "client output: ";

/// Serves one connection with a new certificate and the ALPN `protocol`. Returns the port and the certificate.
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
        let (stream, service) = (TokioIo::new(stream), service_fn(version_as_model));
        // The client closes the connection.
        if protocol == "h2" {
            let _ =
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
        }
    });
    (port, cert.pem())
}

/// Runs this test in a child process with the root certificates `roots`. Returns its output.
async fn client(port: u16, roots: &str) -> String {
    let file = std::env::temp_dir().join(format!("foreman-client-roots-{}-{port}.pem", std::process::id()));
    std::fs::write(&file, roots).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "client::tls::https_uses_system_roots", "--nocapture"]);
    child.env(URL, format!("https://localhost:{port}")).env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let output = bounded(child.kill_on_drop(true).output()).await.unwrap();
    std::fs::remove_file(file).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = stdout.lines().find_map(|line| line.split_once(OUTPUT)).unwrap_or_else(|| panic!("{stdout}"));
    line.1.to_owned()
}

#[tokio::test]
async fn https_uses_system_roots() {
    if let Ok(url) = std::env::var(URL) {
        let client = Client::builder(url).polling().build().await.unwrap();
        match bounded(client.models()).await {
            Ok(models) => println!("{OUTPUT}{}", models[0].name),
            Err(error) => println!("{OUTPUT}{error}, unsent {}", error.is_safe_to_resubmit()),
        }
        return;
    }
    for (protocol, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let (port, certificate) = serve(protocol).await;
        assert_eq!(client(port, &certificate).await, version);
    }
    let (port, _) = serve("h2").await;
    let (_, other) = serve("h2").await;
    let output = client(port, &other).await;
    assert!(output.ends_with("cannot connect to the daemon, unsent true"), "{output}");
}
