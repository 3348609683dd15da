//! What the errors of other crates mean, and how ours come out of their boxes.

use foreman_protocol::{ArtifactError, InvalidValue};

use super::opaque::Inner;
use super::{BoxError, Error, Kind};

impl Error {
    /// Takes an error out of the boxes that layers put it in, and gives a meaning to those that other crates made.
    ///
    /// This is the only place where that is done: `tower::timeout`'s `Elapsed`, `tower::load_shed`'s
    /// `Overloaded`, hyper's and hyper-util's errors and `std::io`'s are known, wherever in the chain of sources they stand,
    /// and so is an `Error` that another layer has wrapped.
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(other) => match other.downcast::<InvalidValue>() {
                Ok(error) => (*error).into(),
                Err(other) => match find(other.as_ref()) {
                    Some(found) => found.copied().with_source(other),
                    None => Self::new(classify(other.as_ref())).with_source(other),
                },
            },
        }
    }

    /// The same for an error that is only looked at.
    pub(crate) fn see<R>(error: &(dyn std::error::Error + 'static), look: impl FnOnce(&Self) -> R) -> R {
        match find(error) {
            Some(found) => look(found),
            None => look(&Self::new(classify(error))),
        }
    }

    /// All but the source, which cannot be copied.
    fn copied(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind.clone(),
            arrival: inner.arrival,
            call: inner.call.clone(),
            job_id: inner.job_id.clone(),
            key: inner.key,
            last_state: inner.last_state.clone(),
            waited: inner.waited,
            source: None,
        }))
    }
}

/// The first error of this crate in a chain.
fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error of another crate means, by the first one in the chain of sources that is known.
fn classify(error: &(dyn std::error::Error + 'static)) -> Kind {
    let mut transport = false;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<InvalidValue>() {
            return Kind::Invalid { field: error.field(), why: error.reason().to_owned().into() };
        }
        if error.is::<ArtifactError>() {
            return Kind::Answer(error.to_string().into());
        }
        if error.is::<tower::timeout::error::Elapsed>() {
            return Kind::Exchange(None);
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Kind::Overloaded;
        }
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            if error.is_connect() {
                return Kind::Connect;
            }
            transport = true;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // hyper says "canceled" only of a request that it hands back before a byte of it was written.
            if error.is_canceled() {
                return Kind::Connect;
            }
            transport = true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
            match error.kind() {
                ConnectionRefused | AddrNotAvailable | HostUnreachable | NetworkUnreachable => return Kind::Connect,
                _ => transport = true,
            }
        }
        next = error.source();
    }
    if transport { Kind::Transport } else { Kind::Service }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::from_boxed(error)
    }
}

impl From<InvalidValue> for Error {
    fn from(error: InvalidValue) -> Self {
        let (field, why, source) = error.into_parts();
        let mut error = Self::invalid(field, why);
        error.0.source = source;
        error
    }
}

/// A daemon sent the artifact, so that its answer cannot be used.
impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let mut answer = Self::answer(error.to_string());
        answer.0.source = error.into_source();
        answer
    }
}
