use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

/// Receives one kind of signal. From its creation on, the signal does not end the process by default any more.
pub(crate) struct SignalListener(Signal);

#[cfg(windows)]
enum Signal {
    Interrupt(CtrlC),
    Terminate(CtrlBreak),
}

#[cfg(windows)]
impl Signal {
    async fn recv(&mut self) -> Option<()> {
        match self {
            Self::Interrupt(signal) => signal.recv().await,
            Self::Terminate(signal) => signal.recv().await,
        }
    }
}

impl SignalListener {
    /// Listens for Ctrl-C (SIGINT).
    pub(crate) fn interrupt() -> io::Result<Self> {
        #[cfg(unix)]
        let listening = signal(SignalKind::interrupt());
        #[cfg(windows)]
        let listening = ctrl_c().map(Signal::Interrupt);
        listening.map(Self)
    }

    /// Listens for the signal of service managers: SIGTERM, or Ctrl-Break on Windows.
    pub(crate) fn terminate() -> io::Result<Self> {
        #[cfg(unix)]
        let listening = signal(SignalKind::terminate());
        #[cfg(windows)]
        let listening = ctrl_break().map(Signal::Terminate);
        listening.map(Self)
    }

    /// Waits for the next signal.
    pub(crate) async fn recv(&mut self) {
        // The stream of signals does not end.
        _ = self.0.recv().await;
    }

    /// Ends the process with status 130 on the next signal. Dropping the listener does not restore the default action.
    pub(crate) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            self.recv().await;
            std::process::exit(130);
        });
    }
}
