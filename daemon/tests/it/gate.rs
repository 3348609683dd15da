//! A backend that reports each attempt, and ends it when the test says so.

use std::sync::Arc;

use foreman_daemon::BoxError;
use foreman_daemon::{Backend, Chat, ChatResponse};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Semaphore};
use tower::service_fn;

pub(crate) struct Gate {
    begun: Mutex<UnboundedReceiver<Chat>>,
    dropped: Mutex<UnboundedReceiver<()>>,
    open: Arc<Semaphore>,
}

/// Reports an attempt that is dropped before its end.
struct Dropped(Option<UnboundedSender<()>>);

impl Dropped {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(drops) = self.0.take() {
            let _ = drops.send(());
        }
    }
}

impl Gate {
    pub(crate) fn new() -> (Self, Backend) {
        let (begin, begun) = unbounded_channel();
        let (drops, dropped) = unbounded_channel();
        let open = Arc::new(Semaphore::new(0));
        let gate = Self { begun: Mutex::new(begun), dropped: Mutex::new(dropped), open: Arc::clone(&open) };
        let chat = service_fn(move |chat: Chat| {
            let (begin, open, guard) = (begin.clone(), Arc::clone(&open), Dropped(Some(drops.clone())));
            async move {
                let _ = begin.send(chat);
                open.acquire().await?.forget();
                guard.disarm();
                Ok::<_, BoxError>(ChatResponse::from_value("passed")?)
            }
        });
        (gate, Backend::new(chat))
    }

    /// Waits for the next attempt to begin.
    pub(crate) async fn begun(&self) -> Chat {
        self.begun.lock().await.recv().await.unwrap()
    }

    /// Whether an attempt has begun that `begun` has not returned.
    pub(crate) async fn has_begun(&self) -> bool {
        !self.begun.lock().await.is_empty()
    }

    /// Waits for the next attempt to be dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.lock().await.recv().await.unwrap();
    }

    /// Lets this many attempts end.
    pub(crate) fn open(&self, runs: usize) {
        self.open.add_permits(runs);
    }
}
