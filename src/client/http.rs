use crate::Error;
use crate::api::{BaseUrl, HttpService, Transport, TransportBuilder};

/// What a [`Client`](super::Client) needs of an HTTP service: a name for its bounds, implemented for all that fulfil them.
pub trait OwnService: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static {}

impl<T> OwnService for T where T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static {}

/// Where a [`ClientBuilder`](super::ClientBuilder) gets its HTTP service from.
pub trait MakeHttp: sealed::Sealed<Self::Http> {
    /// The service.
    type Http: OwnService;
}

/// The default: a [`Transport`].
#[derive(Debug)]
pub struct DefaultHttp(pub(super) TransportBuilder);

/// The caller's own.
#[derive(Debug)]
pub struct OwnHttp<T>(pub(super) T);

mod sealed {
    use super::{BaseUrl, Error};

    pub trait Sealed<T> {
        fn make(self, base: &BaseUrl) -> Result<T, Error>;
    }
}

impl MakeHttp for DefaultHttp {
    type Http = Transport;
}

impl sealed::Sealed<Transport> for DefaultHttp {
    fn make(self, base: &BaseUrl) -> Result<Transport, Error> {
        self.0.build(base)
    }
}

impl<T: OwnService> MakeHttp for OwnHttp<T> {
    type Http = T;
}

impl<T> sealed::Sealed<T> for OwnHttp<T> {
    fn make(self, _: &BaseUrl) -> Result<T, Error> {
        Ok(self.0)
    }
}
