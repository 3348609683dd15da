use crate::{BoxError, Error};

/// An error in which an [`Error`] can be seen: that one itself, or the box that a layer put it in.
pub trait Cause: sealed::Sealed {}

mod sealed {
    use super::{BoxError, Error};

    pub trait Sealed {
        /// Looks at the error; layers' own errors, such as an elapsed time-out, are given a meaning as in
        /// [`Error::from_boxed`].
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R;

        /// Says that the request was sent before, and may have arrived then.
        fn set_sent_before(&mut self);
    }

    impl Sealed for Error {
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R {
            look(self)
        }

        fn set_sent_before(&mut self) {
            Error::set_sent_before(self);
        }
    }

    impl Sealed for BoxError {
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R {
            Error::see(self.as_ref(), look)
        }

        fn set_sent_before(&mut self) {
            let mut error = Error::from_boxed(std::mem::replace(self, "taken".into()));
            error.set_sent_before();
            *self = error.into();
        }
    }
}

impl Cause for Error {}
impl Cause for BoxError {}
