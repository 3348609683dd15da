use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use foreman_protocol::webhook::{FOREMAN_SIGNATURE, WEBHOOK_SIGNATURE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use uuid::Uuid;

use super::handle::Faults;
use crate::store::Delivery;
use crate::{BoxError, JobId, JobState};

/// What a forged event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgery {
    /// That the job has failed with the error `forged`. The signatures are those of the event that it took the place of, as
    /// if it had been changed on its way.
    Body,
    /// The event of another job, one that does not exist, rightly signed. A client that waits for the answer to its submission
    /// does not know which job is its own, and believes what is signed: forge events after that, such as the last one of a job
    /// that is [stalled](super::JobFaults::stall) meanwhile.
    Job,
}

/// What is wrong with an event that is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spoilt {
    forgery: Option<Forgery>,
    missigned: bool,
}

impl Faults {
    /// Whether an event that is to be sent is not.
    pub(crate) fn silences(&self, mail: &Delivery) -> bool {
        let is_last = mail.status.state.is_terminal();
        let silenced = self.state().of_event(is_last, |events| events.silence.take()).is_some();
        if silenced {
            self.note(|seen| seen.silenced_events += 1);
        }
        silenced
    }

    /// What is to be wrong with an event; only what has signatures can have wrong ones.
    pub(crate) fn spoils(&self, mail: &Delivery, signed: bool) -> Spoilt {
        let is_last = mail.status.state.is_terminal();
        let mut state = self.state();
        let forgery = state.of_event(is_last, |events| events.forge.take());
        let missigned = signed && state.of_event(is_last, |events| events.missign.take()).is_some();
        drop(state);
        if forgery.is_some() || missigned {
            self.note(|seen| {
                seen.forged_events += u64::from(forgery.is_some());
                seen.missigned_events += u64::from(missigned);
            });
        }
        Spoilt { forgery, missigned }
    }

    /// Whether an event that was delivered is sent once more.
    pub(crate) fn duplicates(&self, mail: &Delivery) -> bool {
        let is_last = mail.status.state.is_terminal();
        let duplicated = self.state().of_event(is_last, |events| events.duplicate.take()).is_some();
        if duplicated {
            self.note(|seen| seen.duplicated_events += 1);
        }
        duplicated
    }
}

impl Spoilt {
    /// The event to be signed.
    pub(crate) fn mail(self, mail: &Delivery) -> Result<Cow<'_, Delivery>, BoxError> {
        let mut mail = Cow::Borrowed(mail);
        if self.forgery == Some(Forgery::Job) {
            let other = JobId::new(Uuid::now_v7().simple().to_string())?;
            Arc::make_mut(&mut mail.to_mut().status).job_id = other;
        }
        Ok(mail)
    }

    /// What happens to it after that.
    pub(crate) fn request(
        self,
        mail: &Delivery,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Request<Full<Bytes>>, BoxError> {
        if self.forgery == Some(Forgery::Body) {
            let mut status = (*mail.status).clone();
            status.state = JobState::Failed;
            status.error = Some("forged".to_owned());
            status.result = None;
            *request.body_mut() = Full::from(serde_json::to_vec(&status)?);
        }
        if self.missigned {
            let headers = request.headers_mut();
            if let Some(hex) = headers.get_mut(FOREMAN_SIGNATURE) {
                *hex = HeaderValue::try_from(other_hex(hex.to_str()?))?;
            }
            if let Some(base64) = headers.get_mut(WEBHOOK_SIGNATURE) {
                *base64 = HeaderValue::try_from(other_base64(base64.to_str()?)?)?;
            }
        }
        Ok(request)
    }
}

/// With another last digit.
fn other_hex(signature: &str) -> String {
    let mut digits = signature.to_owned();
    let last = digits.pop();
    digits.push(if last == Some('0') { '1' } else { '0' });
    digits
}

/// With another last byte: of the last character before the padding some bits mean nothing, and a reader may forget them.
fn other_base64(signature: &str) -> Result<String, BoxError> {
    let (version, code) = signature.split_once(',').ok_or("a signature without a version")?;
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
    fn wrong_signatures_differ_in_one_character_and_in_what_they_stand_for() {
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
