use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::failure::failure;
use crate::store::StoreError;
use crate::vital::{Vital, panic_message};

/// A task for a store thread. It gets the connection, or the error of its group. The returned reply sends the result once the
/// commit is known.
pub(super) type Task<D> = Box<dyn FnOnce(Result<&mut D, StoreError>) -> Finished + Send>;

pub(super) struct Finished {
    /// Why it failed.
    pub(super) error: Option<StoreError>,
    pub(super) reply: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// A thread that runs tasks. Dropping it blocks until all tasks have run.
#[derive(Debug)]
pub(super) struct StoreThread<D> {
    tasks: Option<Sender<Task<D>>>,
    handle: Option<JoinHandle<()>>,
}

impl<D: Send + 'static> StoreThread<D> {
    /// `run` returns an error if the daemon cannot continue with the store. So does a panic of it.
    pub(super) fn start(
        name: &'static str,
        vital: Vital,
        run: impl FnOnce(Receiver<Task<D>>) -> Result<(), StoreError> + Send + 'static,
    ) -> io::Result<Self> {
        let (tasks, queue) = channel();
        let run = move || match catch_unwind(AssertUnwindSafe(|| run(queue))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => vital.fail(failure(&error)),
            Err(panic) => vital.fail(format_args!("{name} panicked: {}", panic_message(&*panic))),
        };
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { tasks: Some(tasks), handle: Some(handle) })
    }

    /// Runs a task, and returns its result after the commit. The task runs even if this future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut D) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let task: Task<D> = Box::new(move |db| {
            let done = db.and_then(|db| Ok(task(db)?));
            let error = done.as_ref().err().cloned();
            let reply = Box::new(move |committed: Result<(), StoreError>| {
                // The receiver may have been dropped.
                let _ = sender.send(done.and_then(|done| committed.map(|()| done)));
            });
            Finished { error, reply }
        });
        let tasks = self.tasks.as_ref().ok_or_else(StoreError::closed)?;
        tasks.send(task).map_err(|_| StoreError::closed())?;
        receiver.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }
}

impl<D> Drop for StoreThread<D> {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(handle) = self.handle.take() {
            // A panic has been reported.
            let _ = handle.join();
        }
    }
}
