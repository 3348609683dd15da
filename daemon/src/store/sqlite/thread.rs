use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::store::StoreError;

/// What is done on a thread, unless it is told why it cannot. It gives back whether it failed, and how to say what came of it
/// once that is certain.
pub(super) type Task<D> = Box<dyn FnOnce(Result<&mut D, StoreError>) -> Done + Send>;

pub(super) struct Done {
    pub(super) failed: bool,
    pub(super) reply: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// A thread that does what it is sent. Dropping it waits until it has done everything.
#[derive(Debug)]
pub(super) struct Thread<D> {
    tasks: Option<Sender<Task<D>>>,
    handle: Option<JoinHandle<()>>,
}

impl<D: Send + 'static> Thread<D> {
    pub(super) fn start(name: &str, run: impl FnOnce(Receiver<Task<D>>) + Send + 'static) -> io::Result<Self> {
        let (tasks, queue) = channel();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(queue))?;
        Ok(Self { tasks: Some(tasks), handle: Some(handle) })
    }

    /// Does it, and answers when what it did is certain. It is done even if nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut D) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let task: Task<D> = Box::new(move |db| {
            let done = db.and_then(|db| Ok(task(db)?));
            let failed = done.is_err();
            let reply = Box::new(move |committed: Result<(), StoreError>| {
                // Whoever asked may have gone.
                let _ = answer.send(done.and_then(|done| committed.map(|()| done)));
            });
            Done { failed, reply }
        });
        let tasks = self.tasks.as_ref().ok_or_else(StoreError::closed)?;
        tasks.send(task).map_err(|_| StoreError::closed())?;
        answered.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }
}

impl<D> Drop for Thread<D> {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    }
}
