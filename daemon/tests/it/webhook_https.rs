//! Webhooks to receivers at `https`.

use std::sync::Arc;
use std::time::Duration;

use foreman_client::webhook::Secret;
use foreman_daemon::Daemon;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::raw::{ended, post, submit_to};
use super::receiver::Receiver;
use crate::eventually::eventually;

const SECRET: &str = "It's a Secret to Everybody";

/// A receiver with a certificate for this name, and the certificate as PEM.
async fn receiver(name: &str) -> (Receiver, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Receiver::start_tls(TlsAcceptor::from(Arc::new(config))).await, cert.pem())
}

#[tokio::test]
async fn receiver_with_configured_root_gets_events() {
    let (mut receiver, certificate) = receiver("localhost").await;
    let (_, stranger) = self::receiver("localhost").await;
    let roots = format!("The roots of a company\n{stranger}\n{certificate}");
    let daemon = Daemon::builder().webhook_secret(SECRET).webhook_roots(roots).start().await.unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    for state in ["queued", "running", "done"] {
        let event = receiver.event().await;
        assert_eq!((event.state().as_str(), event.json()["job_id"].as_str()), (state, Some(id.as_str())));
        assert!(event.head.starts_with("POST /hook HTTP/1.1\r\n"), "{event:?}");
        let signed = Secret::new(SECRET).unwrap().sign(event.body.as_bytes());
        assert_eq!(event.header("x-foreman-signature").as_bytes(), signed.as_bytes());
    }
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn untrusted_receiver_gets_nothing_and_is_retried() {
    let (stranger, _) = receiver("localhost").await;
    let (_, trusted) = receiver("localhost").await;
    let (misnamed, its_own) = receiver("example.com").await;
    for (receiver, roots) in [(stranger, trusted), (misnamed, its_own)] {
        let builder = Daemon::builder().webhook_roots(roots).webhook_retries([Duration::ZERO; 9]);
        let daemon = builder.start().await.unwrap();
        let id = submit_to(&daemon, &receiver.url).await;
        assert_eq!(ended(&daemon, &id).await["state"], "done");
        // Before the breaker of the receiver opens.
        eventually("retried", || daemon.stats().webhook_attempts >= 4).await;
        assert_eq!(daemon.stats().webhooks_delivered, 0);
        assert!(receiver.is_empty());
    }
}

#[tokio::test]
async fn address_is_checked_for_https_too() {
    let (receiver, certificate) = receiver("localhost").await;
    let daemon = Daemon::builder().webhook_roots(certificate).private_webhooks(false).start().await.unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    eventually("given up", || daemon.stats().webhooks_given_up > 0).await;
    let stats = daemon.stats();
    assert_eq!((stats.webhook_attempts, stats.webhooks_delivered, stats.webhooks_given_up), (1, 0, 1));
    assert!(receiver.is_empty());

    let url = receiver.url.replace("localhost", "127.0.0.1");
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{url}"}}"#);
    let refused = post(&daemon, "/jobs", &[], &body).await.refused(422);
    assert_eq!(refused, "invalid state_webhook_url: webhooks are not sent to 127.0.0.1: private");
}

#[tokio::test]
async fn roots_that_are_no_certificates_are_refused() {
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    let no_base64 = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for (pem, why) in [
        ("", "has no certificate"),
        ("localhost", "has no certificate"),
        (cut, "is not PEM"),
        (no_base64, "is not PEM"),
        (no_certificate, "has a certificate that cannot be read"),
    ] {
        let error = Daemon::builder().webhook_roots(pem).start().await.unwrap_err();
        assert_eq!(error.to_string(), format!("invalid webhook_roots: {why}"), "{pem}");
    }
}
