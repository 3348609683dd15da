//! Medians of rounds, because a single timing says little.

use std::time::Duration;

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of all values, the one below which `share` of them are.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (0..values.len()).find(|at| (at + 1) as f64 >= share * values.len() as f64);
    values[at.unwrap_or(values.len() - 1)]
}

/// One operation of a batch, in nanoseconds.
pub(crate) fn nanos_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}
