//! Stacks of layers around a wait. The daemon counts the runs of each job while the HTTP client, the connections and the
//! webhooks fail: no stack runs a job twice.

mod drop_policy;
mod lost_responses;
mod outer_layers;
mod policies;
mod retry_service;
mod simulation;
mod sockets;
