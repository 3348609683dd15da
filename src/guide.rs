//! The guide: one page for each subject.
//!
//! 1. [`first_job`]: a client, a request, a result.
//! 2. [`webhooks`]: behind NAT, on a port of the client's own, or mounted in your router.
//! 3. [`stacks`]: which layer goes on which side of the wait, and a stack to copy.
//! 4. [`deadlines_and_drops`]: how a wait ends early, and what happens to the job.
//! 5. [`errors`]: what an error says about the job.
//! 6. [`progress`]: the job id as soon as it is known, and each state.
//! 7. [`tracing`]: what the client logs, and how to tell which call it belongs to.
//! 8. [`fleets`]: one box, a pool of daemons, several replicas of a gateway.
//! 9. [`testing`]: an embedded daemon, with faults on request.

pub mod deadlines_and_drops;
pub mod errors;
pub mod first_job;
pub mod fleets;
pub mod progress;
pub mod stacks;
pub mod testing;
pub mod tracing;
pub mod webhooks;
