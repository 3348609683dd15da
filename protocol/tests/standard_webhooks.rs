//! Signatures against the reference library of Standard Webhooks.
#![allow(clippy::unwrap_used, reason = ".clippy.toml allows it in test functions only")]

use foreman_protocol::webhook::Secret;
use proptest::prelude::*;

proptest! {
    #[test]
    fn reference_library_verifies_signature(key in "[A-Za-z0-9+/]{32}", id in "[A-Za-z0-9_]{1,40}", body in ".*") {
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
