//! The client against the embedded daemon, over real sockets.

mod endpoints;
mod limits;
mod listener;
mod options;
mod sockets;
mod tls;
mod transport;
mod ways;
