//! Waits: what they promise, one promise after the other.

mod clones;
mod daemons;
mod deadline;
mod events;
mod failures;
mod handles;
mod layers;
mod lost;
mod pace;
mod polling;
mod random;
mod slots;
mod stats;
