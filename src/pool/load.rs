use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// How much one more job changes an average.
const WEIGHT: f64 = 0.25;

/// The time of a job of which nothing is known, in seconds.
const UNKNOWN: f64 = 1.0;

/// The part of the time of a first job that its model takes at least to load, until a second job shows it.
const LOAD_PART: f64 = 0.5;

/// How many loads a load costs: itself, that of the model which it replaces, and the time that later jobs of both wait for them. A load at a
/// busy daemon delays more jobs, so that each pending one adds a load.
const LOADS: f64 = 4.0;

/// The longest load that makes a daemon preferred, in seconds.
const MAX_LOAD: f64 = 300.0;

/// The time after which an average of a daemon counts half, and the average of the pool as much.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// How many models a daemon has averages for. The one that was used least recently is forgotten first.
const MODELS: usize = 64;

/// What the jobs of one model take, in seconds.
#[derive(Debug, Clone)]
struct ModelTimes {
    model: Arc<str>,
    /// How many jobs of it wait at the daemon.
    pending: u32,
    /// After a job of the same model.
    warm: Option<f64>,
    /// After a job of another model.
    cold: Option<f64>,
    used: Instant,
}

/// Averages for each model.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<ModelTimes>);

impl Times {
    fn get(&self, model: &str) -> Option<&ModelTimes> {
        self.0.iter().find(|times| &*times.model == model)
    }

    fn entry(&mut self, model: &str, now: Instant) -> &mut ModelTimes {
        let at = match self.0.iter().position(|times| &*times.model == model) {
            Some(at) => at,
            None => {
                let free = |times: &&(usize, &ModelTimes)| times.1.pending == 0;
                let oldest = self.0.iter().enumerate().collect::<Vec<_>>();
                let oldest = oldest.iter().filter(free).min_by_key(|(_, times)| times.used).map(|(at, _)| *at);
                if let Some(oldest) = oldest.filter(|_| self.0.len() >= MODELS) {
                    self.0.swap_remove(oldest);
                }
                self.0.push(ModelTimes { model: model.into(), pending: 0, warm: None, cold: None, used: now });
                self.0.len() - 1
            }
        };
        let times = &mut self.0[at];
        times.used = now;
        times
    }

    pub(super) fn record(&mut self, model: &str, sample: Sample, now: Instant) {
        let times = self.entry(model, now);
        let average = if sample.warm { &mut times.warm } else { &mut times.cold };
        *average = Some(average.map_or(sample.seconds, |average| average + WEIGHT * (sample.seconds - average)));
    }
}

impl ModelTimes {
    fn warm(&self) -> Option<f64> {
        self.warm.or_else(|| self.cold.map(|cold| cold * (1.0 - LOAD_PART)))
    }

    fn cold(&self) -> Option<f64> {
        self.cold.or(self.warm)
    }
}

/// What one job took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    seconds: f64,
    warm: bool,
}

/// The jobs of this pool that wait at one daemon, and how long jobs take there.
///
/// The time of a job is counted from its submission, or from the end of the job before it if that is later: the part of the wait in which
/// it was its turn. So it needs no clock of the daemon, a daemon that runs several jobs at once counts as a fast one, and one that is
/// busy with the jobs of others as a slow one.
#[derive(Debug, Default)]
pub(super) struct Load {
    times: Times,
    pending: u32,
    /// The sum of the estimates of the pending jobs, in seconds.
    work: f64,
    /// The estimates of the pending jobs, in the order in which they were sent.
    queue: VecDeque<f64>,
    /// When the first of the pending jobs was sent.
    busy_since: Option<Instant>,
    last_sent: Option<Arc<str>>,
    last_ended: Option<Arc<str>>,
    ended_at: Option<Instant>,
}

/// What a job of one model would cost at one daemon now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    /// The estimate of the wait, with what a load costs others, in seconds.
    pub(super) seconds: f64,
    /// Jobs a second.
    pub(super) speed: f64,
    /// The daemon ran this model last, or will have.
    pub(super) preferred: bool,
}

/// A job that is counted.
#[derive(Debug)]
pub(super) struct Counted {
    model: Arc<str>,
    estimate: f64,
    began: Instant,
    /// The wait began with the submission, so that its time is that of the job.
    whole: bool,
}

impl Load {
    pub(super) fn pending(&self) -> u32 {
        self.pending
    }

    /// How long the pending jobs take, in seconds.
    pub(super) fn work(&self) -> f64 {
        if self.pending == 0 { 0.0 } else { self.work.max(0.0) }
    }

    /// The same without the part of the present job that is over.
    fn rest(&self, now: Instant) -> f64 {
        let since = self.busy_since.max(self.ended_at);
        let over = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.work() - self.queue.front().map_or(0.0, |first| first.min(over))
    }

    fn is_warm(&self, model: &str) -> bool {
        self.last_sent.as_deref() == Some(model)
    }

    /// The time of a warm job and of a cold one, in seconds.
    fn estimates(&self, model: &str, pool: &Times, now: Instant) -> (f64, f64) {
        let (own, pool) = (self.times.get(model), pool.get(model));
        let of_pool = |read: fn(&ModelTimes) -> Option<f64>| pool.and_then(read).unwrap_or(UNKNOWN);
        let estimate = |read: fn(&ModelTimes) -> Option<f64>| match own.and_then(|own| Some((read(own)?, own.used))) {
            None => of_pool(read),
            Some((average, used)) => {
                let age = now.saturating_duration_since(used);
                if age < HALF_LIFE / 10 {
                    return average;
                }
                let rest = (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
                average * rest + of_pool(read) * (1.0 - rest)
            }
        };
        let warm = estimate(ModelTimes::warm);
        (warm, estimate(ModelTimes::cold).clamp(warm, warm + MAX_LOAD))
    }

    pub(super) fn cost(&self, model: &str, pool: &Times, now: Instant) -> Cost {
        let (warm, cold) = self.estimates(model, pool, now);
        let preferred = self.is_warm(model);
        let loads = LOADS + f64::from(self.pending);
        let job = if preferred { warm } else { warm + loads * (cold - warm) };
        // A job that takes no time at all would have an infinite speed.
        Cost { seconds: self.rest(now) + job, speed: 1.0 / warm.max(1e-6), preferred }
    }

    /// A job is sent to the daemon, or waited for again if it is not `whole`.
    pub(super) fn begin(&mut self, model: &str, pool: &Times, now: Instant, whole: bool) -> Counted {
        let (warm, cold) = self.estimates(model, pool, now);
        let estimate = if self.is_warm(model) { warm } else { cold };
        let times = self.times.entry(model, now);
        times.pending += 1;
        let model = Arc::clone(&times.model);
        self.pending += 1;
        self.queue.push_back(estimate);
        if self.pending == 1 {
            self.busy_since = Some(now);
        }
        self.work += estimate;
        if self.last_sent.as_deref() != Some(&*model) {
            self.last_sent = Some(Arc::clone(&model));
        }
        Counted { model, estimate, began: now, whole }
    }

    /// The wait ended. `done`: the job ran to its end, and did not fail. Returns what it took.
    pub(super) fn end(&mut self, counted: Counted, now: Instant, done: bool) -> Option<(Arc<str>, Sample)> {
        let Counted { model, estimate, began, whole } = counted;
        self.pending = self.pending.saturating_sub(1);
        self.queue.pop_front();
        // Without the rounding errors of many sums.
        self.work = if self.pending == 0 { 0.0 } else { self.work - estimate };
        let times = self.times.entry(&model, now);
        times.pending = times.pending.saturating_sub(1);
        if !done {
            return None;
        }
        let turn = self.ended_at.map_or(began, |ended| ended.max(began));
        let warm = self.last_ended.as_deref() == Some(&*model);
        (self.ended_at, self.last_ended) = (Some(now), Some(Arc::clone(&model)));
        let sample = Sample { seconds: now.saturating_duration_since(turn).as_secs_f64(), warm };
        if !whole {
            return None;
        }
        self.times.record(&model, sample, now);
        Some((model, sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(load: &mut Load, model: &str, began: Instant, seconds: u64) -> (f64, bool) {
        let counted = load.begin(model, &Times::default(), began, true);
        let (_, sample) = load.end(counted, began + Duration::from_secs(seconds), true).unwrap();
        (sample.seconds, sample.warm)
    }

    #[test]
    fn time_of_a_job_excludes_the_jobs_before_it() {
        let (mut load, start) = (Load::default(), Instant::now());
        let jobs: Vec<_> = (0..3).map(|_| load.begin("m", &Times::default(), start, true)).collect();
        let mut taken = Vec::new();
        for (at, job) in (1..).zip(jobs) {
            taken.push(load.end(job, start + Duration::from_secs(at * 2), true).unwrap().1.seconds);
        }
        assert_eq!((taken, load.pending()), (vec![2.0; 3], 0));
    }

    #[test]
    fn load_of_a_model_is_learned_and_makes_its_daemon_preferred() {
        let (mut load, start) = (Load::default(), Instant::now());
        assert_eq!(run(&mut load, "a", start, 22), (22.0, false));
        let start = start + Duration::from_secs(22);
        assert_eq!(run(&mut load, "a", start, 2), (2.0, true));
        let start = start + Duration::from_secs(2);
        let pool = Times::default();
        let warm = load.cost("a", &pool, start);
        assert_eq!((warm.seconds, warm.preferred), (2.0, true));
        // Another model takes the place of this one.
        run(&mut load, "b", start, 1);
        let cold = load.cost("a", &pool, start + Duration::from_secs(1));
        assert_eq!((cold.seconds, cold.preferred), (2.0 + LOADS * 20.0, false));
    }

    #[test]
    fn failed_and_abandoned_jobs_say_nothing_about_the_time() {
        let (mut load, start) = (Load::default(), Instant::now());
        let counted = load.begin("m", &Times::default(), start, true);
        assert!(load.work() > 0.0);
        assert!(load.end(counted, start, false).is_none());
        assert_eq!((load.pending(), load.work()), (0, 0.0));
        assert_eq!(load.cost("m", &Times::default(), start).seconds, UNKNOWN);
        // A wait that attached to a job in the middle has not seen all of it.
        let counted = load.begin("m", &Times::default(), start, false);
        assert!(load.end(counted, start, true).is_none());
    }

    #[test]
    fn daemon_without_jobs_of_a_model_has_the_average_of_the_pool() {
        let (load, now, mut pool) = (Load::default(), Instant::now(), Times::default());
        pool.record("m", Sample { seconds: 8.0, warm: true }, now);
        assert_eq!(load.cost("m", &pool, now).seconds, 8.0);
    }

    #[test]
    fn old_average_gives_way_to_that_of_the_pool() {
        let (mut load, start, mut pool) = (Load::default(), Instant::now(), Times::default());
        run(&mut load, "m", start, 90);
        run(&mut load, "m", start + Duration::from_secs(90), 90);
        pool.record("m", Sample { seconds: 10.0, warm: true }, start);
        let ended = start + Duration::from_secs(180);
        assert_eq!(load.cost("m", &pool, ended).seconds, 90.0);
        assert_eq!(load.cost("m", &pool, ended + HALF_LIFE).seconds, 50.0);
    }

    #[test]
    fn models_are_forgotten_beyond_the_limit() {
        let (mut load, start) = (Load::default(), Instant::now());
        let kept = load.begin("kept", &Times::default(), start, true);
        for at in 1..=200 {
            run(&mut load, &format!("m{at}"), start + Duration::from_secs(at), 0);
        }
        assert_eq!(load.times.0.len(), MODELS);
        assert!(load.end(kept, start, true).is_some());
        assert!(load.times.get("m200").is_some() && load.times.get("m1").is_none());
    }
}
