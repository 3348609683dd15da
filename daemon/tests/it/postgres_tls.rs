//! TLS to a real server.

use std::error::Error as _;

use foreman_daemon::{Daemon, Echo, Error};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::postgres_server::PostgresServer;
use super::raw::{ended, submit};

/// A certificate authority, as PEM, and the certificate and the key that it has issued for a name.
fn authority(authority: &str, name: &str) -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, authority);
    let root = params.self_signed(&key).unwrap().pem();
    let (issuer, server_key) = (Issuer::new(params, key), KeyPair::generate().unwrap());
    let server = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    (root, server.pem(), server_key.serialize_pem())
}

async fn start(url: String, roots: &str) -> Result<Daemon, Error> {
    Daemon::builder().postgres(url).postgres_roots(roots).backend(Echo::new()).start().await
}

/// The error and its causes.
async fn refusal(url: String, roots: &str) -> String {
    let error = start(url, roots).await.unwrap_err();
    assert!(error.is_store(), "{error}");
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[tokio::test]
async fn certificate_of_the_database_is_checked() {
    let (root, certificate, key) = authority("one", "localhost");
    let (stranger, ..) = authority("other", "localhost");
    let Some((server, port)) = PostgresServer::start_tls(&certificate, &key) else { return };
    let url = |host: &str, mode: &str| format!("postgres://postgres@{host}:{port}/postgres?sslmode={mode}");

    let daemon = start(url("localhost", "require"), &format!("{stranger}{root}")).await.unwrap();
    let job = submit(&daemon, "go").await;
    assert_eq!(ended(&daemon, &job).await["state"], "done");
    daemon.shutdown().await;

    // An optional encryption is checked too.
    for mode in ["require", "prefer"] {
        let error = refusal(url("localhost", mode), &stranger).await;
        assert!(
            error.starts_with(&format!("cannot connect to store postgres://postgres@localhost:{port}/postgres: ")),
            "{error}"
        );
        assert!(error.contains("TLS") && error.contains("UnknownIssuer"), "{error}");
        let error = refusal(url("127.0.0.1", mode), &root).await;
        assert!(error.contains("TLS") && error.contains("not valid for name \"127.0.0.1\""), "{error}");
    }
    drop(server);
}

#[tokio::test]
async fn database_without_tls_is_refused_if_it_is_required() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://someone@{}/jobs?sslmode=require", plain.local_addr().unwrap());
    let answer = async {
        let (mut connection, _) = plain.accept().await.unwrap();
        connection.read_exact(&mut [0; 8]).await.unwrap();
        connection.write_all(b"N").await.unwrap();
    };
    let (root, ..) = authority("one", "localhost");
    let (error, ()) = tokio::join!(refusal(url, &root), answer);
    assert!(error.contains("server does not support TLS"), "{error}");
}
