use crate::{BoxError, Error};

/// An error in which an [`Error`] can be seen: that one itself, or the box that a layer put it in.
pub trait Cause: sealed::Sealed {}

mod sealed {
    use super::{BoxError, Error};

    pub trait Sealed {
        /// Inspects the error; layers' own errors, such as an elapsed time-out, are given a meaning as in
        /// [`Error::from_boxed`].
        fn inspect<R>(&self, inspect: impl FnOnce(&Error) -> R) -> R;
    }

    impl Sealed for Error {
        fn inspect<R>(&self, inspect: impl FnOnce(&Error) -> R) -> R {
            inspect(self)
        }
    }

    impl Sealed for BoxError {
        fn inspect<R>(&self, inspect: impl FnOnce(&Error) -> R) -> R {
            Error::inspect(self.as_ref(), inspect)
        }
    }
}

impl Cause for Error {}
impl Cause for BoxError {}
