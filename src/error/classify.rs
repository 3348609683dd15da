//! Classifies the errors of other crates, and finds this crate's error in the boxes of layers.

use foreman_protocol::{ArtifactError, InvalidValue};

use super::opaque::Inner;
use super::{BoxError, Error, Kind};

impl Error {
    /// Converts the boxed error of a layer.
    ///
    /// Returns the `Error` that the box or one of its sources is. Otherwise classifies the first source that it knows:
    /// `tower::timeout`'s `Elapsed`, `tower::load_shed`'s `Overloaded`, and the errors of hyper, hyper-util and `std::io`.
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

    /// The same for a borrowed error.
    pub(crate) fn inspect<R>(error: &(dyn std::error::Error + 'static), inspect: impl FnOnce(&Self) -> R) -> R {
        match find(error) {
            Some(found) => inspect(found),
            None => inspect(&Self::new(classify(error))),
        }
    }

    /// A copy without the source, which cannot be cloned.
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

/// The first error of this crate in a chain of sources.
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

/// The kind of another crate's error, by the first source that is known.
fn classify(error: &(dyn std::error::Error + 'static)) -> Kind {
    let mut transport = false;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<InvalidValue>() {
            return Kind::Invalid { field: error.field(), reason: error.reason().to_owned().into() };
        }
        if error.is::<ArtifactError>() {
            return Kind::Response(error.to_string().into());
        }
        if error.is::<tower::timeout::error::Elapsed>() {
            return Kind::RequestTimeout(None);
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
            // hyper returns "canceled" only for a request of which it has not written a byte.
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
        let (field, reason, source) = error.into_parts();
        let mut error = Self::invalid(field, reason);
        error.0.source = source;
        error
    }
}

/// The artifact is part of a response, which cannot be used.
impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let mut response = Self::response(error.to_string());
        response.0.source = error.into_source();
        response
    }
}
