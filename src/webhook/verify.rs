use std::sync::Arc;
use std::time::Duration;

use foreman_protocol::webhook::{
    FOREMAN_SIGNATURE, Secret, Signature, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
};
use http::{HeaderMap, HeaderName};

use crate::source::RefusalReason;

/// Verifies that the daemon signed a request.
///
/// There are two schemes, `X-Foreman-Signature` and Standard Webhooks. One is enough, but each one that a request uses
/// must be valid: a valid signature in one scheme does not excuse an invalid one in the other. `X-Foreman-Signature`
/// covers no timestamp.
///
/// Each signature may be made with any of the secrets, so that secrets can be rotated while events are in flight.
#[derive(Debug)]
pub(crate) struct Verifier {
    secrets: Arc<[Secret]>,
    /// In seconds.
    tolerance: u64,
}

impl Verifier {
    /// `tolerance` is the maximum difference between `webhook-timestamp` and the current time, in the past or in the
    /// future. A fraction of a second is cut off.
    pub(crate) fn new(secrets: impl Into<Arc<[Secret]>>, tolerance: Duration) -> Self {
        Self { secrets: secrets.into(), tolerance: tolerance.as_secs() }
    }

    /// Verifies a request. `now` is the current time in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Returns [`RefusalReason::Timestamp`] if the signatures are valid, but the timestamp is not a number or not
    /// within the tolerance. Returns [`RefusalReason::Signature`] in all other cases: a signature is missing or
    /// invalid, a header occurs twice, or only some of the headers of Standard Webhooks are present.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), RefusalReason> {
        let [foreman, id, timestamp, signatures] =
            unique_headers(headers, &[FOREMAN_SIGNATURE, WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE])?;

        if let Some(signature) = foreman {
            self.verify_foreman(signature, body)?;
        }
        match (id, timestamp, signatures) {
            (None, None, None) if foreman.is_some() => Ok(()),
            (Some(id), Some(timestamp), Some(signatures)) => {
                self.verify_standard(id, timestamp, signatures, body)?;
                self.check_timestamp(timestamp, now)
            }
            _ => Err(RefusalReason::Signature),
        }
    }

    fn verify_foreman(&self, signature: &[u8], body: &[u8]) -> Result<(), RefusalReason> {
        let received = Signature::from_hex(signature).ok_or(RefusalReason::Signature)?;
        let valid = self.secrets.iter().any(|secret| secret.foreman_signature(body).matches(&received));
        if valid { Ok(()) } else { Err(RefusalReason::Signature) }
    }

    fn verify_standard(
        &self,
        id: &[u8],
        timestamp: &[u8],
        signatures: &[u8],
        body: &[u8],
    ) -> Result<(), RefusalReason> {
        // The signature covers `{id}.{timestamp}.{body}`. With a dot in the id or the timestamp, the same text could be
        // split into another id, timestamp and body, and the signature would be valid for a forged event.
        if id.is_empty() || id.contains(&b'.') || timestamp.contains(&b'.') {
            return Err(RefusalReason::Signature);
        }
        let received: Vec<Signature> = signatures.split(|byte| *byte == b' ').filter_map(Signature::from_v1).collect();
        if received.is_empty() {
            return Err(RefusalReason::Signature);
        }
        // One HMAC for each secret, no matter how many signatures the request lists.
        let valid = self.secrets.iter().any(|secret| {
            let expected = secret.standard_signature(id, timestamp, body);
            received.iter().any(|received| expected.matches(received))
        });
        if valid { Ok(()) } else { Err(RefusalReason::Signature) }
    }

    fn check_timestamp(&self, timestamp: &[u8], now: i64) -> Result<(), RefusalReason> {
        // Only digits: `parse` would also accept a sign.
        let digits = !timestamp.is_empty() && timestamp.iter().all(u8::is_ascii_digit);
        let seconds = std::str::from_utf8(timestamp).ok().filter(|_| digits).and_then(|text| text.parse::<i64>().ok());
        match seconds {
            Some(seconds) if seconds.abs_diff(now) <= self.tolerance => Ok(()),
            _ => Err(RefusalReason::Timestamp),
        }
    }
}

/// Returns the values of headers that must not occur twice: it would be unclear which of the values was signed.
///
/// One pass over the few headers of an event takes less time than a lookup of each name.
fn unique_headers<'a, const N: usize>(
    headers: &'a HeaderMap,
    names: &[HeaderName; N],
) -> Result<[Option<&'a [u8]>; N], RefusalReason> {
    let mut values = [None; N];
    for (name, value) in headers {
        if let Some(at) = names.iter().position(|wanted| wanted == name)
            && values[at].replace(value.as_bytes()).is_some()
        {
            return Err(RefusalReason::Signature);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
