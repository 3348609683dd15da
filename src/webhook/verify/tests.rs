use http::HeaderValue;
use http::header::CONTENT_TYPE;
use proptest::prelude::*;

use super::*;

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const NOW: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn verifier(secrets: &[&str]) -> Verifier {
    let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
    Verifier::new(secrets, Duration::from_secs(300))
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

fn standard(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    headers(&[(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, timestamp), (WEBHOOK_SIGNATURE, signature)])
}

/// Headers with a valid signature over `timestamp`, which may be malformed.
fn signed_at(timestamp: &str) -> HeaderMap {
    let signature = secret(WHSEC).standard_signature(ID.as_bytes(), timestamp.as_bytes(), BODY).to_v1();
    standard(ID, timestamp, &signature)
}

fn verify(headers: &HeaderMap) -> Result<(), RefusalReason> {
    verifier(&[WHSEC]).verify(headers, BODY, NOW)
}

#[test]
fn published_vectors_are_valid() {
    let github =
        headers(&[(FOREMAN_SIGNATURE, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")]);
    assert_eq!(verifier(&["It's a Secret to Everybody"]).verify(&github, b"Hello, World!", NOW), Ok(()));

    assert_eq!(verify(&standard(ID, "1614265330", V1)), Ok(()));

    let rust =
        standard("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    assert_eq!(verifier(&["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]).verify(&rust, body, 1_649_367_553), Ok(()));
}

#[test]
fn standardwebhooks_crate_agrees() {
    let reference = standardwebhooks::Webhook::new(WHSEC).unwrap();
    let signature = reference.sign(ID, NOW, BODY).unwrap();
    assert_eq!(signature, secret(WHSEC).sign_standard(ID, NOW, BODY));
    assert_eq!(verify(&standard(ID, &NOW.to_string(), &signature)), Ok(()));

    // `verify` of the crate uses the system clock.
    let now = jiff::Timestamp::now().as_second();
    let ours = standard(ID, &now.to_string(), &secret(WHSEC).sign_standard(ID, now, BODY));
    reference.verify(BODY, &ours).unwrap();
}

#[test]
fn secret_without_prefix_is_raw_key() {
    let plain = secret("plain");
    let reference = standardwebhooks::Webhook::from_bytes(b"plain".to_vec()).unwrap();
    assert_eq!(plain.sign_standard(ID, NOW, BODY), reference.sign(ID, NOW, BODY).unwrap());
}

#[test]
fn unsigned_request_is_refused() {
    assert_eq!(verify(&HeaderMap::new()), Err(RefusalReason::Signature));
    assert_eq!(verify(&headers(&[(CONTENT_TYPE, "application/json")])), Err(RefusalReason::Signature));
    assert_eq!(
        Verifier::new([], Duration::MAX).verify(&signed_at("1614265330"), BODY, NOW),
        Err(RefusalReason::Signature)
    );
}

#[test]
fn malformed_foreman_signatures_are_refused() {
    let good = secret(WHSEC).sign(BODY);
    assert_eq!(verify(&headers(&[(FOREMAN_SIGNATURE, &good)])), Ok(()));
    let digits = good.strip_prefix("sha256=").unwrap();
    let upper = format!("sha256={}", digits.to_uppercase());
    let doubled = format!("{good}, {good}");
    let other = secret("other").sign(BODY);
    let changed = with_changed_char(&good, 1);
    let truncated = &good[..good.len() - 1];
    for malformed in
        ["", "sha256=", digits, &upper, truncated, &good[..good.len() - 2], &doubled, &other, &changed, "sha1=00"]
    {
        assert_eq!(verify(&headers(&[(FOREMAN_SIGNATURE, malformed)])), Err(RefusalReason::Signature), "{malformed:?}");
    }
    let other_body = verifier(&[WHSEC]).verify(&headers(&[(FOREMAN_SIGNATURE, &good)]), b"other", NOW);
    assert_eq!(other_body, Err(RefusalReason::Signature));
}

#[test]
fn malformed_standard_signatures_are_refused() {
    let base64 = V1.strip_prefix("v1,").unwrap();
    let changed = with_changed_char(V1, 2);
    let asymmetric = format!("v1a,{base64}");
    let unpadded = V1.trim_end_matches('=');
    for malformed in ["", " ", "v1", "v1,", "v2,", base64, &changed, &asymmetric, unpadded, &V1[..V1.len() - 5], "v1,?"]
    {
        assert_eq!(verify(&standard(ID, "1614265330", malformed)), Err(RefusalReason::Signature), "{malformed:?}");
    }
}

/// Changes one character of `text`. `from_end` is its position, where 1 is the last character.
fn with_changed_char(text: &str, from_end: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = bytes.len() - from_end;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn non_canonical_base64_is_refused() {
    for last in ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']) {
        let changed = format!("{}{last}=", &V1[..V1.len() - 2]);
        assert_eq!(verify(&standard(ID, "1614265330", &changed)).is_ok(), changed == V1, "{changed}");
    }
}

#[test]
fn one_valid_signature_in_list_suffices() {
    let other = secret("other").sign_standard(ID, NOW, BODY);
    for list in [format!("v1a,abc {other} v1, {V1}"), format!("{V1} v2,xyz"), format!("{other} {V1}  v9")] {
        assert_eq!(verify(&standard(ID, "1614265330", &list)), Ok(()), "{list}");
    }
    assert_eq!(verify(&standard(ID, "1614265330", &format!("{other} v2,abc"))), Err(RefusalReason::Signature));
}

#[test]
fn both_secrets_are_valid_during_rotation() {
    let both = verifier(&["new", "old"]);
    for (text, valid) in [("new", true), ("old", true), ("older", false)] {
        let secret = secret(text);
        let foreman = headers(&[(FOREMAN_SIGNATURE, &secret.sign(BODY))]);
        assert_eq!(both.verify(&foreman, BODY, NOW).is_ok(), valid, "{text}");
        let standard = standard(ID, &NOW.to_string(), &secret.sign_standard(ID, NOW, BODY));
        assert_eq!(both.verify(&standard, BODY, NOW).is_ok(), valid, "{text}");
    }
}

#[test]
fn all_present_schemes_must_be_valid() {
    let good = secret(WHSEC).sign(BODY);
    let bad = secret("other").sign(BODY);
    let mut both = standard(ID, "1614265330", V1);
    both.insert(FOREMAN_SIGNATURE, good.parse().unwrap());
    assert_eq!(verify(&both), Ok(()));

    both.insert(FOREMAN_SIGNATURE, bad.parse().unwrap());
    assert_eq!(verify(&both), Err(RefusalReason::Signature));

    both.insert(FOREMAN_SIGNATURE, good.parse().unwrap());
    both.insert(WEBHOOK_SIGNATURE, HeaderValue::from_static("v2,unknown"));
    assert_eq!(verify(&both), Err(RefusalReason::Signature));

    for missing in [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE] {
        let mut headers = standard(ID, "1614265330", V1);
        headers.remove(&missing);
        assert_eq!(verify(&headers), Err(RefusalReason::Signature), "no {missing}");
        headers.insert(FOREMAN_SIGNATURE, good.parse().unwrap());
        assert_eq!(verify(&headers), Err(RefusalReason::Signature), "no {missing}");
    }
}

#[test]
fn duplicate_header_is_refused() {
    for twice in [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE, FOREMAN_SIGNATURE] {
        let mut headers = standard(ID, "1614265330", V1);
        headers.insert(FOREMAN_SIGNATURE, secret(WHSEC).sign(BODY).parse().unwrap());
        let again = headers[&twice].clone();
        headers.append(twice.clone(), again);
        assert_eq!(verify(&headers), Err(RefusalReason::Signature), "{twice}");
    }
}

#[test]
fn empty_or_dotted_id_is_refused() {
    for id in ["", ".", "msg.1", "msg."] {
        let signature = secret(WHSEC).sign_standard(id, NOW, BODY);
        assert_eq!(verify(&standard(id, "1614265330", &signature)), Err(RefusalReason::Signature), "{id:?}");
    }
    // Both splits give the same signed text: timestamp `1` and body `1614265330.{…}`, or timestamp `1.1614265330` and
    // body `{…}`.
    let body = [b"1614265330.", BODY].concat();
    let signature = secret(WHSEC).sign_standard("msg", 1, &body);
    assert_eq!(verify(&standard("msg", "1.1614265330", &signature)), Err(RefusalReason::Signature));
}

#[test]
fn timestamp_outside_tolerance_is_refused() {
    for inside in [NOW - 300, NOW - 1, NOW, NOW + 300] {
        assert_eq!(verify(&signed_at(&inside.to_string())), Ok(()), "{inside}");
    }
    for outside in [i64::MIN, i64::MAX, 0, -NOW, NOW - 301, NOW + 301] {
        assert_eq!(verify(&signed_at(&outside.to_string())), Err(RefusalReason::Timestamp), "{outside}");
    }
    for malformed in ["", "hello", "+1614265330", "1614265330.0", "0x60378332", "99999999999999999999", "1614265330 "] {
        assert!(verify(&signed_at(malformed)).is_err(), "{malformed:?}");
    }
    for now in [i64::MIN, i64::MAX] {
        let verified = verifier(&[WHSEC]).verify(&signed_at("1614265330"), BODY, now);
        assert_eq!(verified, Err(RefusalReason::Timestamp));
    }
}

#[test]
fn signature_is_checked_before_timestamp() {
    assert_eq!(verify(&standard(ID, "1", V1)), Err(RefusalReason::Signature));
    assert_eq!(verify(&standard(ID, "hello", "v1,")), Err(RefusalReason::Signature));
}

proptest! {
    #[test]
    fn arbitrary_headers_are_refused_without_panic(
        foreman in proptest::option::of(value()),
        id in proptest::option::of(value()),
        timestamp in proptest::option::of(value()),
        signature in proptest::option::of(value()),
        now in any::<i64>(),
    ) {
        let named = [
            (FOREMAN_SIGNATURE, foreman),
            (WEBHOOK_ID, id),
            (WEBHOOK_TIMESTAMP, timestamp),
            (WEBHOOK_SIGNATURE, signature),
        ];
        let headers: HeaderMap = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(&value?).ok()?)))
            .collect();
        prop_assert!(verifier(&[WHSEC, "plain"]).verify(&headers, BODY, now).is_err());
    }
}

/// Arbitrary bytes, and text in the format of one of the headers.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        "sha256=[0-9a-fA-F]{0,66}".prop_map(String::into_bytes),
        "(v1a?,[A-Za-z0-9+/]{0,44}=? ?){0,4}".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
    ]
}
