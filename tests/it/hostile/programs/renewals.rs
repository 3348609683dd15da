//! Stacks that run failed jobs again.

use std::sync::{Arc, Mutex};

use foreman_client::retry::Reattach;
use foreman_client::wait::{JobErrorsLayer, Progress, Update};
use foreman_client::{Error, JobResult, JobState, Submission};
use futures_util::StreamExt as _;
use tower::{ServiceBuilder, ServiceExt as _};

use super::model::{Caller, Subject, World};
use super::program::Renewing;
use super::run::{Run, accepted, is_gated, states};
use crate::support::millis;

/// The submissions of one stack: the request, and what it was renewed as.
struct Chain {
    world: Arc<Mutex<World>>,
    /// The keys before the newest one.
    failed: Mutex<Vec<String>>,
    newest: Mutex<(String, Arc<()>)>,
}

impl Chain {
    fn subject(&self) -> Subject {
        Subject::Request(self.newest.lock().unwrap().0.clone())
    }

    fn renewals(&self) -> usize {
        self.failed.lock().unwrap().len()
    }

    /// Whether another stack has renewed one of the same submissions. Layers above `Reattach` then follow either.
    fn is_shared(&self, world: &World) -> bool {
        let renewed = |key: &String| world.callers[key].renewed;
        self.failed.lock().unwrap().iter().any(|key| renewed(key) > 1) || renewed(&self.newest.lock().unwrap().0) > 0
    }

    /// A failed job is about to run again. Returns the key of the new submission.
    fn renewed(&self, failed: &Submission, new: &Submission) -> String {
        let [old, key] = [failed, new].map(|it| it.idempotency_key().to_string());
        let mut world = self.world.lock().unwrap();
        world.log(|| format!("{old} is renewed as {key}"));
        let mut newest = self.newest.lock().unwrap();
        world.check(newest.0 == old, || format!("{old} is renewed instead of {}", newest.0));
        world.counts.renewed += 1;
        let known =
            world.callers.get(&key).map(|caller| (caller.renews.as_ref() == Some(&old), Arc::clone(&caller.alive)));
        let alive = if let Some((renews, alive)) = known {
            world.check(renews, || format!("{key} is renewed with a key that was used"));
            alive
        } else {
            let alive = Arc::new(());
            let Caller { deadline, on_drop, first_call, .. } = world.callers[&old];
            let mut caller = Caller::new(new.clone(), deadline, on_drop, &alive);
            (caller.first_call, caller.stacked, caller.renews) = (first_call, true, Some(old.clone()));
            world.callers.insert(key.clone(), caller);
            alive
        };
        world.callers.get_mut(&old).unwrap().renewed += 1;
        *newest = (key.clone(), alive);
        self.failed.lock().unwrap().push(old);
        key
    }

    /// The job of the newest submission has failed.
    fn failed(&self, result: &JobResult) {
        let subject = self.subject();
        self.world.lock().unwrap().check_result(&subject, result);
    }

    /// The call has ended. `states`: those that it has yielded, if it was followed.
    fn ended(&self, result: &Result<JobResult, Error>, states: Option<&[JobState]>) {
        let (subject, renewals) = (self.subject(), self.renewals());
        let mut world = self.world.lock().unwrap();
        if self.is_shared(&world) {
            world.log(|| format!("a stack of {subject:?}, which another stack has renewed, ends: {result:?}"));
            return;
        }
        world.ended(&subject, result);
        let newest = &self.newest.lock().unwrap().0;
        if let Err(error) = result {
            world.counts.errors_of_renewed += u64::from(renewals > 0);
            let key = error.idempotency_key().map(ToString::to_string);
            // A service that fails before it is called knows of no submission.
            let uncalled = key.is_none() && renewals == 0 && states.is_none();
            world.check(uncalled || key.as_ref() == Some(newest), || {
                format!("of {key:?} instead of {newest}: {error:?}")
            });
        }
        let Some(states) = states else { return };
        world.counts.followed_renewals += u64::from(renewals > 0);
        let runs: Vec<_> = states.split_inclusive(JobState::is_terminal).collect();
        let in_order = runs.iter().all(|run| run.is_sorted_by_key(order));
        let failed = runs.iter().take(renewals).all(|run| run.last() == Some(&JobState::Failed));
        let ended = runs.iter().filter(|run| run.last().is_some_and(JobState::is_terminal)).count();
        let all = failed && ended >= renewals && (result.is_err() || ended == renewals + 1);
        world.check(in_order && all, || format!("states of {} runs of {newest}: {states:?}", renewals + 1));
    }
}

fn order(state: &JobState) -> u8 {
    match state {
        JobState::Queued => 0,
        JobState::Running => 1,
        _ => 2,
    }
}

impl Run {
    /// `JobErrors` above `Timeout` above `Reattach` above `Timeout`.
    pub(super) fn renew(&mut self, plan: Renewing) {
        let Some((key, request, alive)) = self.request(plan.request) else { return };
        self.world().callers.get_mut(&key).unwrap().stacked = true;
        let chain = Arc::new(Chain {
            world: Arc::clone(&self.world),
            newest: Mutex::new((key, alive)),
            failed: Mutex::default(),
        });
        let (failing, renewing) = (Arc::clone(&chain), Arc::clone(&chain));
        let (handles, world) = (Arc::clone(&self.handles), Arc::clone(&self.world));
        let policy = Reattach::builder()
            .jitter(0.0)
            .retries(2)
            .renew_failed(plan.times, move |result| {
                failing.failed(result);
                true
            })
            .on_renew(move |failed, new| {
                let key = renewing.renewed(failed, new);
                let mut handles = handles.lock().unwrap();
                handles.push((key.clone(), tokio::spawn(accepted(new.clone(), Arc::clone(&world)))));
                handles.push((key, tokio::spawn(states(new.clone(), Arc::clone(&world), usize::MAX))));
            })
            .build()
            .unwrap();
        let stack = ServiceBuilder::new()
            .layer(JobErrorsLayer::new())
            .timeout(millis(plan.timeouts[1]))
            .map_err(Error::from_boxed)
            .retry(policy)
            .timeout(millis(plan.timeouts[0]))
            .service(self.jobs(plan.client));
        self.tasks.push(tokio::spawn(async move {
            let submission = request.submission();
            let call = stack.oneshot(request);
            if plan.progress {
                let mut progress = Box::pin(Progress::new(&submission, call));
                let (mut states, mut end) = (Vec::new(), None);
                while let Some(update) = progress.next().await {
                    match update {
                        Ok(Update::State(change)) => states.push(change.state),
                        Ok(Update::Finished(result)) => end = Some(Ok(result)),
                        Err(error) => end = Some(Err(error)),
                    }
                }
                // `Progress` yields no states after another wait has ended while its own was still to be called.
                chain.ended(&end.unwrap(), (!is_gated(plan.client)).then_some(&states));
            } else {
                let result = call.await;
                chain.ended(&result, None);
            }
        }));
    }
}
