use std::collections::HashMap;
use std::task::{Context, Poll, ready};

use tokio::task::{Id, JoinSet};

use crate::api::HttpService;
use crate::error::Kind;
use crate::{Client, Error, ModelInfo};

/// The requests for lists of models that are in flight.
#[derive(Debug, Default)]
pub(super) struct Checks {
    tasks: JoinSet<Result<Vec<ModelInfo>, Error>>,
    /// The number of the daemon that each task asks.
    daemons: HashMap<Id, u64>,
}

impl Checks {
    /// Requests the list of the daemon with that number.
    pub(super) fn start<T>(&mut self, number: u64, client: Client<T>)
    where
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
    {
        let task = self.tasks.spawn(async move { client.models().await });
        self.daemons.insert(task.id(), number);
    }

    /// The next outcome, with the number of its daemon. Pending also while there is no request. A panic of an HTTP service is a failure as
    /// any other.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(u64, Result<Vec<ModelInfo>, Error>)> {
        loop {
            let (task, listed) = match ready!(self.tasks.poll_join_next_with_id(cx)) {
                None => return Poll::Pending,
                Some(Ok((task, listed))) => (task, listed),
                Some(Err(error)) => (error.id(), Err(Error::new(Kind::Service).with_source(error))),
            };
            if let Some(number) = self.daemons.remove(&task) {
                return Poll::Ready((number, listed));
            }
        }
    }
}
