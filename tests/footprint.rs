//! A waiting job stays under its target. A binary of its own, since it counts what the whole process allocates.

#[expect(clippy::expect_used, reason = "shared with a bench, which should end where it cannot go on")]
#[path = "../benches/footprint/measure.rs"]
mod measure;

use self::measure::{TARGET, measure};

#[test]
fn a_waiting_job_costs_less_than_its_target() {
    // Not a power of two, so that the registry has no more room to spare than with 100,000.
    for push in [true, false] {
        let (allocated, _) = measure(12_500, push).unwrap();
        assert!(allocated < TARGET, "{allocated} bytes, push: {push}");
        assert!(allocated > 300, "{allocated} bytes cannot be all, push: {push}");
    }
}
