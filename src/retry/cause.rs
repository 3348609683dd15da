use crate::{BoxError, Error};

/// An error in which an [`Error`] can be seen: that one itself, or the box that a layer put it in.
pub trait Cause: sealed::Sealed {}

mod sealed {
    use super::{BoxError, Error};

    pub trait Sealed {
        /// Looks at the error; layers' own errors, such as an elapsed time-out, are given a meaning as in
        /// [`Error::from_boxed`].
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R;
    }

    impl Sealed for Error {
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R {
            look(self)
        }
    }

    impl Sealed for BoxError {
        fn see<R>(&self, look: impl FnOnce(&Error) -> R) -> R {
            Error::see(self.as_ref(), look)
        }
    }
}

impl Cause for Error {}
impl Cause for BoxError {}
