use std::sync::Arc;

use tower::Layer;

use super::{Addresses, Failover};
use crate::api::BaseUrl;

/// Sends the requests of an [`Api`](crate::Api) to one of several addresses of one queue: a layer below it, over an HTTP service of your own.
///
/// [`ClientBuilder::other_addresses`](crate::ClientBuilder::other_addresses) is the same over the default HTTP client, and describes it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::Client;
/// use foreman_client::api::{BaseUrl, FailoverLayer, Transport};
/// # let daemon = foreman_daemon::Daemon::start().await?;
/// # let (box_1, box_2) = ("http://127.0.0.1:9", daemon.url());
///
/// let [first, second] = [box_1.parse::<BaseUrl>()?, box_2.parse()?];
/// let http = tower::ServiceBuilder::new()
///     .layer(FailoverLayer::new(first.clone(), [second]))
///     // With layers of your own.
///     .service(Transport::new(&first)?);
/// let client = Client::builder(first.as_str()).build_with(http).await?;
/// client.models().await?;
/// # Ok(()) }
/// ```
///
/// Over it, an [`Api`](crate::Api) of your own names the address of a response in its errors only with
/// [`Api::over_failover`](crate::Api::over_failover).
#[derive(Debug, Clone)]
pub struct FailoverLayer {
    addresses: Arc<Addresses>,
}

impl FailoverLayer {
    /// `first` is the base URL of the [`Api`](crate::Api) above.
    #[must_use]
    pub fn new(first: BaseUrl, others: impl IntoIterator<Item = BaseUrl>) -> Self {
        Self::over(Arc::new(Addresses::new(first, others)))
    }

    pub(crate) fn over(addresses: Arc<Addresses>) -> Self {
        Self { addresses }
    }
}

/// Services of one layer and its clones share what is known of the addresses.
impl<T> Layer<T> for FailoverLayer {
    type Service = Failover<T>;

    fn layer(&self, http: T) -> Failover<T> {
        Failover::new(http, Arc::clone(&self.addresses))
    }
}
