//! The faults, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::sys::signal::Signal;
use rusqlite::Connection;
use tokio::time::{Instant, sleep};

use super::backend::Mode;
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    BackendRefuses,
    BackendUnavailable,
    BackendHangs,
    ReceiverDies,
    LogIsNotRead,
    StoreIsLocked,
    DiskIsFull,
    Restart,
    Kill,
    KillsInARow,
}

pub(crate) const FAULTS: [Fault; 10] = [
    Fault::BackendRefuses,
    Fault::ReceiverDies,
    Fault::LogIsNotRead,
    Fault::StoreIsLocked,
    Fault::Restart,
    Fault::BackendHangs,
    Fault::Kill,
    Fault::DiskIsFull,
    Fault::BackendUnavailable,
    Fault::KillsInARow,
];

/// What must be seen while a fault lasts. Otherwise the fault has shown nothing, or has stopped what it must not stop.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// Submissions are accepted.
    Accepted,
    /// Submissions are rejected, or get no response.
    Rejected,
    Any,
}

impl Fault {
    fn describe(self) -> &'static str {
        match self {
            Self::BackendRefuses => "backend refuses connections",
            Self::BackendUnavailable => "backend responds with 503",
            Self::BackendHangs => "backend hangs",
            Self::ReceiverDies => "a webhook receiver dies",
            Self::LogIsNotRead => "log is not read",
            Self::StoreIsLocked => "store is locked",
            Self::DiskIsFull => "disk is full",
            Self::Restart => "SIGTERM and start",
            Self::Kill => "SIGKILL and start",
            Self::KillsInARow => "3 × SIGKILL and start",
        }
    }

    fn expected(self) -> Expected {
        match self {
            Self::StoreIsLocked | Self::DiskIsFull => Expected::Rejected,
            Self::Restart | Self::Kill | Self::KillsInARow => Expected::Any,
            _ => Expected::Accepted,
        }
    }

    /// Causes the fault, waits for its length, ends it, and prints a row of the table.
    pub(crate) async fn run(self, world: &mut World, length: Duration, begin: Instant) {
        let load = Arc::clone(&world.load);
        let counts = || (load.count(), load.rejected.load(SeqCst), load.lost.load(SeqCst));
        let (before, start) = (counts(), Instant::now());
        self.cause(world, length).await;
        let after = counts();
        let (accepted, rejected, lost) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
        println!(
            "| {:.1} | {} | {:.1} | {accepted} | {rejected} | {lost} |",
            (start - begin).as_secs_f64(),
            self.describe(),
            start.elapsed().as_secs_f64()
        );
        let seen = match self.expected() {
            Expected::Accepted => accepted > 0,
            Expected::Rejected => rejected + lost > 0,
            Expected::Any => true,
        };
        if !seen {
            let failure = format!("{}: expected submissions {:?}", self.describe(), self.expected());
            load.broken.lock().unwrap().push(failure);
        }
    }

    async fn cause(self, world: &mut World, length: Duration) {
        match self {
            Self::BackendRefuses => {
                world.backend.stop();
                sleep(length).await;
                world.backend.start_again();
            }
            Self::BackendUnavailable => set_backend(world, Mode::Unavailable, length).await,
            Self::BackendHangs => set_backend(world, Mode::Hangs, length).await,
            Self::ReceiverDies => {
                // It has been dead since the round before, and has events to get.
                world.receivers[0].start_again();
                sleep(length / 2).await;
                world.receivers[0].stop();
                sleep(length / 2).await;
            }
            Self::LogIsNotRead => {
                world.daemon.stop_reading_log();
                sleep(length).await;
                world.daemon.read_log_again();
            }
            Self::StoreIsLocked => {
                // Longer than the 2 s that the daemon waits for a lock.
                let connection = Connection::open(&world.store).unwrap();
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                sleep(length + Duration::from_secs(3)).await;
                connection.execute_batch("ROLLBACK").unwrap();
            }
            Self::DiskIsFull => {
                world.disk.fill(world.daemon.id());
                sleep(length).await;
                world.disk.empty(world.daemon.id());
            }
            Self::Restart => {
                let status = world.daemon.stop(Signal::SIGTERM).await;
                if status != Some(0) {
                    world.load.broken.lock().unwrap().push(format!("SIGTERM: exit status {status:?}"));
                }
                world.daemon.start_again().await;
            }
            Self::Kill => kill(world).await,
            Self::KillsInARow => {
                for _ in 0..3 {
                    kill(world).await;
                    sleep(length / 4).await;
                }
            }
        }
    }
}

async fn set_backend(world: &World, mode: Mode, length: Duration) {
    world.backend.set(mode);
    sleep(length).await;
    world.backend.set(Mode::Up);
}

async fn kill(world: &mut World) {
    world.daemon.stop(Signal::SIGKILL).await;
    world.daemon.start_again().await;
}
