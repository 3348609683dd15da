use std::collections::HashMap;

use super::Outcome;
use crate::JobId;
use crate::store::fresh_id::fresh_id;
use crate::store::key_column::key_column;
use crate::store::{NewJob, QueueLimits, SubmitError, Submitted};

/// A token and its key, as a column.
pub(super) type OwnedKey = Vec<u8>;

pub(super) fn owned_key(new: &NewJob) -> Option<OwnedKey> {
    let key = key_column(&new.key.as_ref()?.text);
    Some([&new.owner.as_bytes()[..], &key].concat())
}

/// The job of a key, and the digest of its submission.
pub(super) type UsedKey = (JobId, Vec<u8>);

/// Decides about the submissions of a group.
pub(super) struct Group {
    /// How many jobs each token has in the queue. Without those that are locked by another transaction.
    pub(super) queued: HashMap<Vec<u8>, usize>,
    pub(super) all: usize,
    pub(super) used: HashMap<OwnedKey, UsedKey>,
    pub(super) limits: QueueLimits,
    /// The jobs to be added, by their indexes.
    pub(super) added: Vec<(usize, JobId)>,
}

impl Group {
    pub(super) fn add(&mut self, index: usize, new: &NewJob) -> Outcome {
        let key = owned_key(new);
        if let Some((job_id, digest)) = key.as_ref().and_then(|key| self.used.get(key)) {
            let is_same = new.key.as_ref().is_some_and(|key| key.digest[..] == digest[..]);
            return Some(if is_same {
                Ok(Submitted { job_id: job_id.clone(), replayed: true })
            } else {
                Err(SubmitError::KeyReused)
            });
        }
        let of_owner = self.queued.get_mut(&new.owner.as_bytes()[..])?;
        if self.all >= self.limits.all {
            return Some(Err(SubmitError::Full));
        }
        if *of_owner >= self.limits.of_owner {
            return Some(Err(SubmitError::TooManyOfOwner));
        }
        *of_owner += 1;
        self.all += 1;
        let job_id = fresh_id();
        if let (Some(key), Some(used)) = (key, &new.key) {
            self.used.insert(key, (job_id.clone(), used.digest.to_vec()));
        }
        self.added.push((index, job_id.clone()));
        Some(Ok(Submitted { job_id, replayed: false }))
    }
}
