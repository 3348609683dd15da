use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::JobId;
use crate::submission::SharedSubmission;

/// The submissions of each job. Several may be of one job: those of waits that attach by its id, for example. One that several waits
/// have subscribed is there so many times.
#[derive(Debug, Default)]
pub(super) struct Subscribers(HashMap<JobId, Submissions>);

/// There is one for each waiting job, and nearly all have one submission.
#[derive(Debug)]
enum Submissions {
    One(Arc<SharedSubmission>),
    #[expect(clippy::box_collection, reason = "an entry is smaller with it")]
    Many(Box<Vec<Arc<SharedSubmission>>>),
}

impl Subscribers {
    pub(super) fn add(&mut self, job_id: &JobId, submission: &Arc<SharedSubmission>) {
        let submission = Arc::clone(submission);
        match self.0.entry(job_id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Submissions::One(submission));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Submissions::Many(submissions) => submissions.push(submission),
                Submissions::One(first) => {
                    let submissions = vec![Arc::clone(first), submission];
                    entry.insert(Submissions::Many(Box::new(submissions)));
                }
            },
        }
    }

    pub(super) fn remove(
        &mut self,
        job_id: &JobId,
        submission: &Arc<SharedSubmission>,
    ) -> Option<Arc<SharedSubmission>> {
        let Entry::Occupied(mut entry) = self.0.entry(job_id.clone()) else { return None };
        match entry.get_mut() {
            Submissions::One(one) if !Arc::ptr_eq(one, submission) => None,
            Submissions::One(_) => match entry.remove() {
                Submissions::One(removed) => Some(removed),
                Submissions::Many(_) => None,
            },
            Submissions::Many(submissions) => {
                let at = submissions.iter().position(|other| Arc::ptr_eq(other, submission))?;
                let removed = submissions.swap_remove(at);
                if submissions.is_empty() {
                    entry.remove();
                }
                Some(removed)
            }
        }
    }

    pub(super) fn of(&self, job_id: &JobId) -> Vec<Arc<SharedSubmission>> {
        match self.0.get(job_id) {
            None => Vec::new(),
            Some(Submissions::One(submission)) => vec![Arc::clone(submission)],
            Some(Submissions::Many(submissions)) => submissions.to_vec(),
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<SharedSubmission>> {
        self.0.keys().flat_map(|job_id| self.of(job_id)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::KeepAlive;

    #[test]
    fn several_submissions_of_one_job_are_kept_apart() {
        let job_id = JobId::new("7").unwrap();
        let [a, b] = [(); 2].map(|()| KeepAlive::existing_job(job_id.clone()));
        let (a, b) = (a.shared(), b.shared());
        let mut subscribers = Subscribers::default();
        for submission in [a, b, a] {
            assert!(subscribers.remove(&job_id, submission).is_none());
            subscribers.add(&job_id, submission);
            subscribers.add(&job_id, submission);
            assert!(subscribers.remove(&job_id, submission).is_some());
            assert!(subscribers.remove(&job_id, submission).is_some());
            assert!(subscribers.is_empty());
        }
        for submission in [a, b, a] {
            subscribers.add(&job_id, submission);
        }
        assert!(subscribers.remove(&job_id, a).is_some());
        assert!(subscribers.of(&job_id).iter().all(|found| Arc::ptr_eq(found, a) || Arc::ptr_eq(found, b)));
        assert_eq!((subscribers.of(&job_id).len(), subscribers.all().len()), (2, 2));
        assert!(subscribers.remove(&job_id, a).is_some() && subscribers.remove(&job_id, a).is_none());
        assert!(subscribers.remove(&job_id, b).is_some() && subscribers.is_empty());
    }
}
