//! Stacks of layers around a wait, and the proof that none of them runs a job twice: the daemon counts the runs while what
//! is between it and the client fails in every way that matters.

mod chaos;
mod double;
mod drops;
mod fault;
mod lost;
mod outside;
mod policies;
mod retried;
mod rig;
mod sockets;
