//! The promises of a wait, on paused time over a scripted daemon.

mod clones;
mod daemons;
mod deadline;
mod events;
mod failures;
mod handles;
mod intervals;
mod layers;
mod lost_responses;
mod missed_events;
mod polling;
mod random;
mod slots;
mod stats;
