//! The promises of a wait, on paused time over a scripted daemon.

mod back_pressure;
mod cancels;
mod clones;
mod confirmations;
mod daemons;
mod deadline;
mod event_stream;
mod event_stream_faults;
mod events;
mod failures;
mod handles;
mod intervals;
mod keys;
mod late;
mod layers;
mod lost_cancels;
mod lost_responses;
mod missed_events;
mod polling;
mod progress;
mod random;
mod renewals;
mod shutdown;
mod slots;
mod stats;
mod unwaited;
