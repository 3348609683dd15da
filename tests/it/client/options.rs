//! Invalid options and requests are rejected by name, before anything is bound or sent.

use std::time::Duration;

use foreman_client::wait::WebhookEndpoint;
use foreman_client::{Client, ClientBuilder, EmbedRequest, Message, Notifier, SubmitRequest};

async fn assert_invalid(field: &str, builder: ClientBuilder) {
    let error = builder.build().await.unwrap_err();
    assert!(error.is_invalid() && error.is_safe_to_resubmit(), "{field}: {error}");
    assert!(error.to_string().starts_with(&format!("invalid {field}: ")), "{field}: {error}");
}

#[tokio::test]
async fn invalid_options_are_named() {
    let client = || Client::builder("http://127.0.0.1:9");
    for url in ["", "127.0.0.1:9", "ftp://h", "http://", "http://h?q", "http://user@h"] {
        assert_invalid("base_url", Client::builder(url)).await;
    }
    assert_invalid("other_addresses", client().other_addresses(["http://h", "h"])).await;
    assert_invalid("token", client().token("")).await;
    assert_invalid("token", client().token("a\nb")).await;
    assert_invalid("webhook_secret", client().webhook_secret("")).await;
    assert_invalid("webhook_secret", client().webhook_secret("whsec_")).await;
    assert_invalid("webhook_secret", client().webhook_secret("good").webhook_secret("")).await;
    assert_invalid("public_url", client().public_url("http://:80/hooks")).await;
    assert_invalid("public_url", client().public_url("/hooks")).await;
    assert_invalid("public_url", client().notifier(Notifier::new())).await;
    // Options that the mode of webhooks ignores.
    assert_invalid("webhook_secret", client().webhook_secret("good").polling()).await;
    assert_invalid("public_url", client().public_url("http://here.test").polling()).await;
    assert_invalid("max_webhook_body", client().max_webhook_body(1 << 20).polling()).await;
    let mounted = || client().notifier(Notifier::new()).public_url("http://here.test");
    assert_invalid("webhook_secret", mounted().webhook_secret("")).await;
    assert_invalid("max_webhook_body", mounted().max_webhook_body(1 << 20)).await;
    assert_invalid("max_webhook_body", client().max_webhook_body(0)).await;
    assert!(mounted().build().await.is_ok());
    let endpoint = WebhookEndpoint::new(Notifier::new(), "http://here.test").unwrap();
    let shared = || client().webhooks(endpoint.clone());
    assert_invalid("webhook_secret", shared().webhook_secret("whsec_")).await;
    assert_invalid("public_url", shared().public_url("/hooks")).await;
    assert_invalid("max_webhook_body", shared().max_webhook_body(1 << 20)).await;
    assert_eq!(shared().build().await.unwrap().webhook_url(), Some("http://here.test"));
    let elsewhere = shared().public_url("http://there.test/hooks").webhook_secret("good").build().await.unwrap();
    assert_eq!(elsewhere.webhook_url(), Some("http://there.test/hooks"));
    assert!(endpoint.clone().with_secrets([""]).unwrap_err().is_invalid());
    assert!(endpoint.clone().with_secrets([""; 0]).unwrap_err().is_invalid());
    assert!(WebhookEndpoint::bind(([0, 0, 0, 0], 0).into()).await.unwrap_err().is_invalid());
    // Two modes of webhooks. The error names the one that was set last.
    assert_invalid("polling", shared().polling()).await;
    assert_invalid("listen", shared().listen(([127, 0, 0, 1], 0).into())).await;
    assert_invalid("webhooks", mounted().webhooks(endpoint.clone())).await;
    assert_invalid("notifier", client().polling().notifier(Notifier::new())).await;
    assert!(client().polling().polling().build().await.is_ok());
    assert_invalid("deadline", client().deadline(Duration::ZERO)).await;
    assert_invalid("min_interval", client().poll_interval(Duration::ZERO)).await;
    assert_invalid("request_timeout", client().request_timeout(Duration::ZERO)).await;
    assert_invalid("max_response_size", client().max_response_size(0)).await;
    let transport = foreman_client::api::Transport::builder().connect_timeout(Duration::ZERO);
    assert_invalid("connect_timeout", client().transport(transport)).await;
}

#[test]
fn invalid_requests_are_named() {
    for (field, error) in [
        ("model", SubmitRequest::builder("").build().unwrap_err()),
        ("messages", Message::from_json("[]").unwrap_err().into()),
        ("messages", Message::from_value("text").unwrap_err().into()),
        ("model", EmbedRequest::new("", "text").unwrap_err().into()),
    ] {
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {field}: ")), "{error}");
    }
}

#[tokio::test]
async fn secrets_are_redacted() {
    let builder = Client::builder("http://127.0.0.1:9").token("hunter2").webhook_secret("hunter3");
    assert!(!format!("{builder:?}").contains("hunter"), "{builder:?}");
    let client = builder.build().await.unwrap();
    assert!(!format!("{client:?}").contains("hunter"), "{client:?}");
}
