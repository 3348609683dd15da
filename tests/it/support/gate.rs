use foreman_daemon::{Backend, Builder, Chat, Daemon};

use super::bounded;
use crate::gate::Gate;

/// The daemon tests' [`Gate`]: a backend whose runs start as usual and end on demand. Waiting for a run is bounded.
pub(crate) struct BoundedGate(Gate);

impl BoundedGate {
    fn new() -> (Self, Backend) {
        let (gate, backend) = Gate::new();
        (Self(gate), backend)
    }

    /// Returns the chat of the next run when it starts.
    pub(crate) async fn run_started(&self) -> Chat {
        bounded(self.0.begun()).await
    }

    /// Returns when the next run is dropped before its end.
    pub(crate) async fn run_dropped(&self) {
        bounded(self.0.dropped()).await;
    }

    /// Lets that many runs end.
    pub(crate) fn open(&self, runs: usize) {
        self.0.open(runs);
    }
}

/// An embedded daemon with a [`BoundedGate`] for its backend.
pub(crate) async fn gated_daemon(builder: Builder) -> (BoundedGate, Daemon) {
    let (gate, backend) = BoundedGate::new();
    (gate, builder.backend(backend).start().await.unwrap())
}
