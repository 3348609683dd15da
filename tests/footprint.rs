//! The memory of a waiting job. This is a binary of its own, since it counts the allocations of the whole process.

#[expect(clippy::expect_used, reason = "shared with a bench, which panics on failure")]
#[path = "../benches/footprint/measure.rs"]
mod measure;

use self::measure::{TARGET, measure};

#[test]
fn waiting_job_stays_below_target() {
    // Not a power of two, so that the spare capacity of the registry is the same share as with 100,000.
    for webhooks in [true, false] {
        let (allocated, _) = measure(12_500, webhooks).unwrap();
        assert!(allocated < TARGET, "{allocated} bytes, webhooks: {webhooks}");
        assert!(allocated > 300, "{allocated} bytes are too few, webhooks: {webhooks}");
    }
}
