use std::time::Duration;

use foreman_protocol::webhook::{
    FOREMAN_SIGNATURE, Secret, Signature, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
};
use http::{HeaderMap, HeaderName};

use crate::source::RefusalReason;

/// Tells the daemon's events from everybody else's.
///
/// Every scheme that a request carries must hold, so that nobody can drop the stronger one; each under any of the secrets,
/// so that they can be changed while events are on their way.
#[derive(Debug)]
pub(crate) struct Verifier {
    secrets: Box<[Secret]>,
    tolerance: u64,
}

impl Verifier {
    /// `tolerance` is how far `webhook-timestamp` may be from now, to either side, in whole seconds.
    pub(crate) fn new(secrets: impl Into<Box<[Secret]>>, tolerance: Duration) -> Self {
        Self { secrets: secrets.into(), tolerance: tolerance.as_secs() }
    }

    /// Whether the request is the daemon's; `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`RefusalReason::Timestamp`] for what is signed and too far from now, [`RefusalReason::Signature`] for all else.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), RefusalReason> {
        let foreman = single(headers, FOREMAN_SIGNATURE)?;
        let id = single(headers, WEBHOOK_ID)?;
        let timestamp = single(headers, WEBHOOK_TIMESTAMP)?;
        let signatures = single(headers, WEBHOOK_SIGNATURE)?;

        if let Some(signature) = foreman {
            self.foreman(signature, body)?;
        }
        match (id, timestamp, signatures) {
            (None, None, None) if foreman.is_some() => Ok(()),
            (Some(id), Some(timestamp), Some(signatures)) => {
                self.standard(id, timestamp, signatures, body)?;
                self.fresh(timestamp, now)
            }
            _ => Err(RefusalReason::Signature),
        }
    }

    fn foreman(&self, signature: &[u8], body: &[u8]) -> Result<(), RefusalReason> {
        let theirs = Signature::from_hex(signature).ok_or(RefusalReason::Signature)?;
        let matches = self.secrets.iter().any(|secret| secret.foreman_signature(body).matches(&theirs));
        if matches { Ok(()) } else { Err(RefusalReason::Signature) }
    }

    fn standard(&self, id: &[u8], timestamp: &[u8], signatures: &[u8], body: &[u8]) -> Result<(), RefusalReason> {
        // With a dot in it, another cut of the same signed text would be another event.
        if id.is_empty() || id.contains(&b'.') || timestamp.contains(&b'.') {
            return Err(RefusalReason::Signature);
        }
        let theirs: Vec<Signature> = signatures.split(|byte| *byte == b' ').filter_map(Signature::from_v1).collect();
        if theirs.is_empty() {
            return Err(RefusalReason::Signature);
        }
        // One pass over the body for each secret, however many signatures a forger lists.
        let matches = self.secrets.iter().any(|secret| {
            let ours = secret.standard_signature(id, timestamp, body);
            theirs.iter().any(|theirs| ours.matches(theirs))
        });
        if matches { Ok(()) } else { Err(RefusalReason::Signature) }
    }

    fn fresh(&self, timestamp: &[u8], now: i64) -> Result<(), RefusalReason> {
        // Digits only: a sign or a blank is no spelling that a sender has.
        let digits = !timestamp.is_empty() && timestamp.iter().all(u8::is_ascii_digit);
        let at = std::str::from_utf8(timestamp).ok().filter(|_| digits).and_then(|text| text.parse::<i64>().ok());
        match at {
            Some(at) if at.abs_diff(now) <= self.tolerance => Ok(()),
            _ => Err(RefusalReason::Timestamp),
        }
    }
}

/// The value of a header that must not be there twice: which of the two was signed could not be told.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, RefusalReason> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(RefusalReason::Signature);
    }
    Ok(first.map(http::HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests;
