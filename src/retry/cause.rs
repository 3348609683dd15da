use crate::{BoxError, Error};

/// An error type that the policies can inspect: [`Error`], or the [`BoxError`] of a layer.
pub trait Cause: sealed::Sealed {}

mod sealed {
    use super::{BoxError, Error};

    pub trait Sealed {
        /// Inspects the error. An error of a layer, such as an elapsed timeout, is classified as by [`Error::from_boxed`].
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
