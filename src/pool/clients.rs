use crate::Client;

/// The clients of one daemon: that of each of its keys, and those before them that still have waits.
///
/// All have the base URL and the token of the daemon, so any of them will do for a call. The newest is used, unless it was shut down: a
/// program that replaces a client shuts the old one down, before or after the new one is inserted. There is always one, also after the
/// daemon has left, for retries that attach.
#[derive(Debug)]
pub(super) struct Clients<T> {
    newest: Client<T>,
    /// By the number of the insertion, in that order.
    present: Vec<(u64, Client<T>)>,
    /// Those whose key has gone or has another one.
    retired: Vec<(u64, Client<T>)>,
    next: u64,
}

impl<T> Clients<T> {
    /// The first one, whose insertion has the number 0.
    pub(super) fn new(client: Client<T>) -> Self {
        Self { newest: client.clone(), present: vec![(0, client)], retired: Vec::new(), next: 1 }
    }

    /// A key has this client. Returns the number of the insertion.
    pub(super) fn insert(&mut self, client: Client<T>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.newest = client.clone();
        self.present.push((number, client));
        number
    }

    /// The key with that insertion has gone, or has another client.
    pub(super) fn retire(&mut self, number: u64) {
        self.retired.extend(self.present.extract_if(.., |(present, _)| *present == number));
    }

    /// Removes those that are retired and have no wait, and returns them: their drop runs code of the caller.
    pub(super) fn forget_idle(&mut self) -> impl Iterator<Item = Client<T>> {
        let newest = self.next - 1;
        let is_idle =
            move |(number, client): &mut (u64, Client<T>)| *number != newest && client.stats().waits.waiting() == 0;
        self.retired.extract_if(.., is_idle).map(|(_, client)| client)
    }

    /// Whether no key has one.
    pub(super) fn are_all_retired(&self) -> bool {
        self.present.is_empty()
    }

    /// The one for new calls.
    pub(super) fn current(&self) -> &Client<T> {
        let of_keys = self.present.iter().rev().map(|(_, client)| client);
        of_keys.into_iter().find(|client| !client.is_shutting_down()).unwrap_or(&self.newest)
    }

    /// Also those that are retired.
    pub(super) fn all(&self) -> impl Iterator<Item = &Client<T>> {
        self.present.iter().chain(&self.retired).map(|(_, client)| client)
    }
}
