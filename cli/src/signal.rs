use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal as Interrupt, Signal as Terminate, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak as Terminate, CtrlC as Interrupt};

/// Ctrl-C, listened to from the moment this is made: it does not kill the process any more.
pub(crate) struct Interrupts(Interrupt);

/// What service managers send (SIGTERM, or Ctrl-Break), likewise.
pub(crate) struct Terminations(Terminate);

impl Interrupts {
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        let listening = signal(SignalKind::interrupt());
        #[cfg(windows)]
        let listening = tokio::signal::windows::ctrl_c();
        listening.map(Self)
    }

    pub(crate) async fn next(&mut self) {
        // It does not end.
        _ = self.0.recv().await;
    }

    /// From now on it kills the process again, as it did before: to stop listening is not enough for that.
    pub(crate) fn kill(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(130);
        });
    }
}

impl Terminations {
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        let listening = signal(SignalKind::terminate());
        #[cfg(windows)]
        let listening = tokio::signal::windows::ctrl_break();
        listening.map(Self)
    }

    pub(crate) async fn next(&mut self) {
        // It does not end.
        _ = self.0.recv().await;
    }
}
