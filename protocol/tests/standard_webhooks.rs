//! Signatures as the reference library of Standard Webhooks verifies them.
#![allow(clippy::unwrap_used, reason = ".clippy.toml allows it in tests, but not in what tests share")]

use foreman_protocol::webhook::Secret;
use proptest::prelude::*;

proptest! {
    #[test]
    fn signs_what_the_library_of_standard_webhooks_verifies(key in "[A-Za-z0-9+/]{32}", id in "[A-Za-z0-9_]{1,40}", body in ".*") {
        let text = format!("whsec_{key}");
        let (ours, theirs) = (Secret::new(&text).unwrap(), standardwebhooks::Webhook::new(&text).unwrap());
        let now = jiff::Timestamp::now().as_second();
        let signature = ours.sign_standard(&id, now, body.as_bytes());
        prop_assert_eq!(&signature, &theirs.sign(&id, now, body.as_bytes()).unwrap());
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        prop_assert!(theirs.verify(body.as_bytes(), &headers).is_ok());
    }
}
