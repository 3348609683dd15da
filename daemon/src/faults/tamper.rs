use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use foreman_protocol::webhook::{FOREMAN_SIGNATURE, WEBHOOK_SIGNATURE};
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use super::Faults;
use crate::delivery::{Signer, Webhook};
use crate::{BoxError, JobId, JobState};

/// How an event is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgery {
    /// The body reports that the job has failed with the error `forged`. The signatures are those of the original event, as if
    /// the body had been changed in transit.
    Body,
    /// The event is that of another job, which does not exist, with valid signatures.
    ///
    /// A client that waits for the response to its submission does not know the id of its job, and accepts any signed event.
    /// Forge later events, such as the terminal event of a job that was [stalled](super::JobFaults::stall).
    Job,
}

impl Faults {
    /// Forges a webhook or its signatures, if such a fault is set.
    pub(super) fn tamper(&self, webhook: Webhook, signer: &Signer) -> Result<Webhook, BoxError> {
        let is_terminal = webhook.delivery.status.state.is_terminal();
        let is_signed = webhook.request.headers().contains_key(FOREMAN_SIGNATURE);
        let mut state = self.state();
        let forgery = state.of_event(is_terminal, |events| events.forge.take());
        let wrongly = is_signed && state.of_event(is_terminal, |events| events.sign_wrongly.take()).is_some();
        drop(state);
        if forgery.is_some() || wrongly {
            self.record(|seen| {
                seen.forged_events += u64::from(forgery.is_some());
                seen.wrongly_signed_events += u64::from(wrongly);
            });
        }
        let mut webhook = match forgery {
            None => webhook,
            Some(Forgery::Body) => with_forged_body(webhook)?,
            Some(Forgery::Job) => of_another_job(webhook, signer)?,
        };
        if wrongly {
            sign_wrongly(webhook.request.headers_mut())?;
        }
        Ok(webhook)
    }
}

fn with_forged_body(mut webhook: Webhook) -> Result<Webhook, BoxError> {
    let mut status = (*webhook.delivery.status).clone();
    status.state = JobState::Failed;
    status.error = Some("forged".to_owned());
    status.result = None;
    *webhook.request.body_mut() = Bytes::from(serde_json::to_vec(&status)?);
    Ok(webhook)
}

fn of_another_job(webhook: Webhook, signer: &Signer) -> Result<Webhook, BoxError> {
    let mut delivery = webhook.delivery;
    Arc::make_mut(&mut delivery.status).job_id = JobId::new(Uuid::now_v7().simple().to_string())?;
    signer.sign(delivery)
}

fn sign_wrongly(headers: &mut HeaderMap) -> Result<(), BoxError> {
    if let Some(hex) = headers.get_mut(FOREMAN_SIGNATURE) {
        *hex = HeaderValue::try_from(other_hex(hex.to_str()?))?;
    }
    if let Some(base64) = headers.get_mut(WEBHOOK_SIGNATURE) {
        *base64 = HeaderValue::try_from(other_base64(base64.to_str()?)?)?;
    }
    Ok(())
}

/// The signature with another last digit.
fn other_hex(signature: &str) -> String {
    let mut digits = signature.to_owned();
    let last = digits.pop();
    digits.push(if last == Some('0') { '1' } else { '0' });
    digits
}

/// The signature with another last byte. Changing the last character would not do: some of its bits are padding, which decoders
/// may ignore.
fn other_base64(signature: &str) -> Result<String, BoxError> {
    let (version, code) = signature.split_once(',').ok_or("signature without a version")?;
    let mut bytes = STANDARD.decode(code)?;
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Ok(format!("{version},{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foreman_protocol::webhook::Secret;

    #[test]
    fn wrong_signatures_differ_in_one_character_and_in_value() {
        let secret = Secret::new("a secret").unwrap();
        let differing = |one: &str, other: &str| {
            assert_eq!(one.len(), other.len());
            (0..one.len()).filter(|at| one.as_bytes()[*at] != other.as_bytes()[*at]).collect::<Vec<_>>()
        };
        for body in 0..64_u8 {
            let hex = secret.sign(&[body]);
            assert_eq!(differing(&hex, &other_hex(&hex)), [hex.len() - 1]);
            let v1 = secret.sign_standard("id", 1, &[body]);
            let other = other_base64(&v1).unwrap();
            assert_eq!(differing(&v1, &other), [v1.len() - 2], "{v1} {other}");
            let bytes = |text: &str| STANDARD.decode(&text[3..]).unwrap();
            assert_eq!(bytes(&other).len(), 32);
            assert_ne!(bytes(&v1), bytes(&other));
        }
    }
}
