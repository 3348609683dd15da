//! Wakers that come back to the client while it wakes them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use foreman_client::JobWait;

use crate::support::{MockApi, call_wait, polling_wait, request};

/// Polls a wait when it is woken.
struct PollsOnWake(Mutex<Pin<Box<JobWait<MockApi, MockApi>>>>);

impl Wake for PollsOnWake {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        // Its own poll may wake it.
        if let Ok(mut wait) = self.0.try_lock() {
            let _ = wait.as_mut().poll(&mut Context::from_waker(&waker));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_is_not_safe_if_its_waker_has_another_wait_send() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let mut refused = tokio_test::task::spawn(call_wait(&wait, request.clone()).await);
    assert!(refused.poll().is_pending());
    let other = Arc::new(PollsOnWake(Mutex::new(Box::pin(call_wait(&wait, request.clone()).await))));
    Arc::clone(&other).wake();
    daemon.next_post().await.respond(429, "");
    let Poll::Ready(Err(error)) = refused.poll() else { panic!("refused") };
    // The other wait has sent before the first one returned its error.
    let _post = daemon.next_now().await.expect("sent by the waker");
    assert!(!error.is_safe_to_resubmit() && error.may_be_running(), "{error:?}");
}
