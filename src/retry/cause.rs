use crate::{BoxError, Error};

/// An error type that the policies can inspect: [`Error`], or the [`BoxError`] of a layer.
///
/// It is sealed. A service below a policy that fails with another type needs a `map_err` between them; see the
/// [module docs](super#an-error-type-of-your-own).
#[diagnostic::on_unimplemented(
    message = "a retry policy of foreman-client cannot inspect the error type `{Self}`",
    label = "the service below the policy fails with `{Self}`, not with `foreman_client::Error` or `BoxError`",
    note = "map the error below the policy, for example by `.map_err(foreman_client::BoxError::from)`",
    note = "an error type of your own can stay above the policy"
)]
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
