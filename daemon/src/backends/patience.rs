use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{ModelNames, Wanted};

/// How long an idle backend leaves jobs to others. After that time it takes jobs in the order of the queue, until there is none: so no job
/// that was left, by any of its workers, waits for longer.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Since when jobs may have been left.
    since: Mutex<Option<Instant>>,
}

impl Patience {
    /// Jobs may be left from here on. Returns until when, or `None` if the backend has to take the next job.
    pub(crate) fn begin(&self, time: Duration) -> Option<Instant> {
        let until = *self.since().get_or_insert_with(Instant::now) + time;
        Some(until).filter(|until| *until > Instant::now())
    }

    /// There is no job for the backend.
    pub(crate) fn end(&self) {
        *self.since() = None;
    }

    /// No method panics while it has the lock.
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wanted jobs without those of models that this backend does not have `loaded`, and another one does: each of the others has one of
/// the sets `elsewhere`. `None` if these are all.
pub(super) fn own_jobs(wanted: &Wanted, loaded: &ModelNames, elsewhere: &[ModelNames]) -> Option<Wanted> {
    // A backend that takes jobs of every model does not know which ones it has.
    let models = wanted.models.as_ref()?;
    let is_left = |model: &str| !loaded.contain(model) && elsewhere.iter().any(|other| other.contain(model));
    let own: ModelNames = models.iter().filter(|model| !is_left(model)).collect();
    (own.len() < models.len()).then(|| Wanted { backend: wanted.backend, models: Some(own.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_only_others_have_loaded_are_left() {
        let names = |names: &[&str]| names.iter().collect::<ModelNames>();
        for (listed, loaded, elsewhere, expected) in [
            (Some(&["a", "b"][..]), &[][..], &[&["a"][..]][..], Some(&["b"][..])),
            (Some(&["a:latest"]), &[], &[&[], &["a"]], Some(&[])),
            (Some(&["a", "b"]), &["a"], &[&["a"]], None),
            (Some(&["a", "b"]), &["a"], &[&["a"], &["b"]], Some(&["a"])),
            (Some(&["a"]), &[], &[&["c"]], None),
            (Some(&["a"]), &[], &[], None),
            (None, &[], &[&["a"]], None),
        ] {
            let wanted = Wanted { backend: 3, models: listed.map(|listed| names(listed).into()) };
            let elsewhere: Vec<_> = elsewhere.iter().map(|&other| names(other)).collect();
            let own = own_jobs(&wanted, &names(loaded), &elsewhere);
            assert!(own.as_ref().is_none_or(|own| own.backend == 3));
            let own = own.map(|own| own.models.unwrap());
            assert_eq!(own.as_deref(), expected.map(names).as_ref(), "{listed:?} {loaded:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_in_time_and_begins_again_after_a_job_in_order() {
        let (patience, time) = (Patience::default(), Duration::from_secs(5));
        let until = patience.begin(time).unwrap();
        assert_eq!(until, Instant::now() + time);
        tokio::time::advance(time / 2).await;
        assert_eq!(patience.begin(time), Some(until));
        tokio::time::advance(time / 2).await;
        assert_eq!((patience.begin(time), patience.begin(time)), (None, None));
        patience.end();
        assert_eq!(patience.begin(time), Some(Instant::now() + time));
    }
}
