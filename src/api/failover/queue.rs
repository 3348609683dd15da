use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Response, StatusCode};

/// The id of the queue: in a response that of the daemon, in a request the one that the daemon must have (421 otherwise).
pub(crate) const FOREMAN_QUEUE: HeaderName = HeaderName::from_static("foreman-queue");

/// The queue of a list of addresses, as far as a response has named it.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    id: HeaderValue,
    /// The address that has named it. It may name another one later: a queue in memory is a new one after a restart.
    by: usize,
}

impl Queue {
    /// The queue that the daemon at this address must have.
    pub(super) fn required(&self, index: usize) -> Option<HeaderValue> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| known.by != index).map(|known| known.id.clone())
    }

    /// A response came from this address. Fails with the address that has named another queue.
    pub(super) fn check<B>(&self, index: usize, response: &Response<B>) -> Result<(), usize> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = response.headers().get(FOREMAN_QUEUE) else {
            // The response of a proxy, or a daemon that names no queue. Only what would end a wait is not believed.
            let ends = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE);
            return known.as_ref().filter(|known| ends && known.by != index).map_or(Ok(()), |known| Err(known.by));
        };
        match &mut *known {
            Some(known) if known.id == *id => Ok(()),
            Some(known) if known.by != index => Err(known.by),
            known => {
                *known = Some(Known { id: id.clone(), by: index });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Response<()> {
        Response::builder().header(FOREMAN_QUEUE, id).body(()).unwrap()
    }

    fn unnamed(status: u16) -> Response<()> {
        Response::builder().status(status).body(()).unwrap()
    }

    #[test]
    fn another_address_must_have_the_queue_of_the_first() {
        let queue = Queue::default();
        assert_eq!((queue.required(0), queue.check(1, &unnamed(404))), (None, Ok(())));
        assert_eq!(queue.check(1, &named("a")), Ok(()));
        assert_eq!((queue.required(1), queue.required(0)), (None, Some("a".parse().unwrap())));
        assert_eq!((queue.check(0, &named("a")), queue.check(0, &named("b"))), (Ok(()), Err(1)));
        assert_eq!(queue.check(1, &named("b")), Ok(()), "it has another queue now");
        assert_eq!((queue.check(0, &named("b")), queue.check(0, &named("a"))), (Ok(()), Err(1)));
    }

    #[test]
    fn only_a_daemon_of_the_queue_can_say_that_a_job_is_unknown() {
        let queue = Queue::default();
        queue.check(0, &named("a")).unwrap();
        for (index, status, expected) in [(0, 404, Ok(())), (1, 404, Err(0)), (1, 410, Err(0)), (1, 502, Ok(()))] {
            assert_eq!(queue.check(index, &unnamed(status)), expected, "{index} {status}");
        }
    }
}
