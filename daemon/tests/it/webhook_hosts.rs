//! The hosts that webhooks are sent to.

use foreman_daemon::{Backend, Builder, Daemon, Echo, Ollama, OpenAi, WebhookHosts};

use super::raw::{ended, post, submit_to};
use super::receiver::Receiver;
use crate::eventually::eventually;

fn only<const N: usize>(entries: [&str; N]) -> Builder {
    Daemon::builder().allow_webhook_hosts(WebhookHosts::new(entries).unwrap())
}

#[tokio::test]
async fn allowed_receiver_gets_events() {
    for builder in [only(["127.0.0.0/8"]), only(["other", "127.0.0.1"]), Daemon::builder().private_webhooks(true)] {
        let mut receiver = Receiver::start(&[]).await;
        let daemon = builder.start().await.unwrap();
        submit_to(&daemon, &receiver.url).await;
        assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
    }
}

#[tokio::test]
async fn receiver_listed_by_name_gets_events() {
    let mut receiver = Receiver::start(&[]).await;
    let daemon = only(["localhost"]).start().await.unwrap();
    submit_to(&daemon, &receiver.url.replace("127.0.0.1", "LocalHost")).await;
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
}

#[tokio::test]
async fn forbidden_receiver_gets_nothing_and_job_goes_on() {
    // The URL has a name, which is resolved for the connection.
    for builder in [
        only(["10.0.0.0/8"]),
        only(["localhost"]).private_webhooks(false),
        only(["127.0.0.0/8", "::1"]).private_webhooks(false),
        Daemon::builder().private_webhooks(false),
    ] {
        let receiver = Receiver::start(&[]).await;
        let daemon = builder.start().await.unwrap();
        let id = submit_to(&daemon, &receiver.url.replace("127.0.0.1", "localhost")).await;
        assert_eq!(ended(&daemon, &id).await["state"], "done");
        eventually("given up", || daemon.stats().webhooks_given_up > 0).await;
        let stats = daemon.stats();
        assert_eq!((stats.webhook_attempts, stats.webhooks_delivered, stats.webhooks_given_up), (1, 0, 1));
        assert!(receiver.is_empty());
    }
}

/// The error of a submission with this host in its callback URL.
async fn rejected(daemon: &Daemon, host: &str) -> String {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"http://{host}:8080/hook"}}"#);
    post(daemon, "/jobs", &[], &body).await.refused(422)
}

#[tokio::test]
async fn url_with_forbidden_address_is_rejected_in_every_spelling() {
    let daemon = Daemon::start().await.unwrap();
    for (host, reason) in [
        ("169.254.169.254", "link-local"),
        ("169.254.0.1", "link-local"),
        ("2852039166", "link-local"),
        ("0xa9fea9fe", "link-local"),
        ("0251.0376.0251.0376", "link-local"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[::ffff:a9fe:a9fe]", "link-local"),
        ("[::ffff:0:169.254.169.254]", "link-local"),
        ("[::169.254.169.254]", "link-local"),
        ("[64:ff9b::169.254.169.254]", "link-local"),
        ("[2002:a9fe:a9fe::1]", "link-local"),
        ("[fe80::1]", "link-local"),
        ("100.100.100.200", "a metadata service"),
        ("168.63.129.16", "a metadata service"),
        ("[::ffff:100.100.100.200]", "a metadata service"),
        ("[fd00:ec2::254]", "a metadata service"),
        ("[fd20:ce::254]", "a metadata service"),
        ("224.0.0.1", "multicast"),
        ("[64:ff9b::224.0.0.1]", "multicast"),
        ("[ff02::1]", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0", "unspecified"),
        ("[::]", "unspecified"),
        ("[::ffff:0.0.0.0]", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("192.0.2.1", "reserved"),
        ("[2002:f000:1::]", "reserved"),
        ("[2001:db8::1]", "reserved"),
    ] {
        let expected = format!("invalid state_webhook_url: webhooks are not sent to {}: {reason}", normal(host));
        assert_eq!(rejected(&daemon, host).await, expected);
    }
    assert_eq!(rejected(&daemon, "[fe80::1%25eth0]").await, "invalid state_webhook_url: invalid IPv6 address");
    assert_eq!(daemon.stats().accepted, 0);
}

/// The spelling of errors.
fn normal(host: &str) -> String {
    url::Host::parse(host).unwrap().to_string().trim_matches(['[', ']']).to_owned()
}

#[tokio::test]
async fn url_that_options_forbid_is_rejected() {
    for (builder, host, reason) in [
        (Daemon::builder().private_webhooks(false), "127.0.0.1", "private"),
        (Daemon::builder().private_webhooks(false), "[::ffff:127.0.0.1]", "private"),
        (Daemon::builder().private_webhooks(false), "[64:ff9b::10.0.0.1]", "private"),
        (Daemon::builder().private_webhooks(false), "[2002:c0a8:1::]", "private"),
        (Daemon::builder().private_webhooks(false), "[fd12::1]", "private"),
        (Daemon::builder().private_webhooks(false), "127.1", "private"),
        (only(["10.0.0.0/8", "localhost"]), "127.0.0.1", "not among the allowed hosts"),
        (only(["*.example.com"]), "[::ffff:127.0.0.1]", "not among the allowed hosts"),
        (only(["*.example.com"]), "example.com", "not among the allowed hosts"),
        (only(["gateway"]), "localhost", "not among the allowed hosts"),
    ] {
        let daemon = builder.start().await.unwrap();
        let error = rejected(&daemon, host).await;
        assert!(error.ends_with(&format!("webhooks are not sent to {}: {reason}", normal(host))), "{error}");
        assert_eq!(daemon.stats().accepted, 0);
    }
}

/// The error of a submission with this callback URL.
async fn rejected_url(daemon: &Daemon, url: &str) -> String {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{url}"}}"#);
    post(daemon, "/jobs", &[], &body).await.refused(422)
}

#[tokio::test]
async fn url_of_own_server_is_rejected_in_every_spelling() {
    let server = Receiver::start(&[]).await;
    let base = server.url.strip_suffix("/hook?a=b").unwrap();
    let backends: [Backend; 3] = [
        Ollama::new(base).unwrap().into(),
        OpenAi::new(base).unwrap().into(),
        Backend::from(Echo::new()).server(base).unwrap(),
    ];
    for backend in backends {
        // Listed and allowed to everyone, which lifts no rule.
        let builder = only(["127.0.0.0/8", "::/0", "localhost"]).loopback_webhooks(true);
        let daemon = builder.backend(backend).start().await.unwrap();
        for own in [base, &daemon.url()] {
            for host in ["127.0.0.1", "127.1", "127.0.0.2", "[::ffff:127.0.0.1]", "LOCALHOST"] {
                let url = format!("{}/api/pull", own.replace("127.0.0.1", host));
                let error = rejected_url(&daemon, &url).await;
                assert!(error.ends_with(": a server of this daemon"), "{url}: {error}");
            }
        }
        assert_eq!(daemon.stats().accepted, 0);
    }
    assert!(server.is_empty());
}

#[tokio::test]
async fn own_server_with_a_name_gets_nothing() {
    let server = Receiver::start(&[]).await;
    let named = server.url.replace("127.0.0.1", "localhost");
    let base = named.strip_suffix("/hook?a=b").unwrap();
    let backend = Backend::from(Echo::new()).server(base).unwrap();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    // The name of the server is resolved for the connection.
    let id = submit_to(&daemon, &server.url).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    eventually("given up", || daemon.stats().webhooks_given_up > 0).await;
    assert_eq!((daemon.stats().webhooks_delivered, server.is_empty()), (0, true));
}
