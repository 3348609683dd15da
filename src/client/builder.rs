use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::webhooks::{WebhookMode, WebhookOptions};
use super::{Client, Inner, stack};
use crate::api::{Addresses, Api, BaseUrl, HttpService, REQUEST_TIMEOUT, TransportBuilder};
use crate::retry::RetrySubmission;
use crate::source::PollPolicy;
use crate::wait::{WaitLayer, WebhookEndpoint};
use crate::{DropPolicy, Error, Notifier};

/// Builds a [`Client`]; made by [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    base_url: String,
    other_addresses: Vec<String>,
    transport: Option<TransportBuilder>,
    token: Option<String>,
    secrets: Vec<String>,
    webhooks: WebhookMode,
    /// Two options that choose different modes of webhooks.
    conflict: Option<(&'static str, &'static str)>,
    public_url: Option<String>,
    max_webhook_body: Option<usize>,
    deadline: Option<Duration>,
    assume_idempotency: bool,
    on_drop: DropPolicy,
    retry: RetrySubmission,
    lost_response_window: Option<Duration>,
    final_poll_timeout: Option<Duration>,
    failure_budget: Option<Duration>,
    poll_policy: Result<PollPolicy, Error>,
    request_timeout: Option<Duration>,
    max_response_size: Option<usize>,
}

impl ClientBuilder {
    pub(super) fn new(base_url: String) -> Self {
        Self {
            base_url,
            other_addresses: Vec::new(),
            transport: None,
            token: None,
            secrets: Vec::new(),
            webhooks: WebhookMode::Listener { address: None },
            conflict: None,
            public_url: None,
            max_webhook_body: None,
            deadline: None,
            assume_idempotency: false,
            on_drop: DropPolicy::Detach,
            retry: RetrySubmission::default(),
            lost_response_window: None,
            final_poll_timeout: None,
            failure_budget: None,
            poll_policy: Ok(PollPolicy::default()),
            request_timeout: None,
            max_response_size: None,
        }
    }

    /// Adds addresses of the same queue: the URLs of other daemons that share it in a database, or other URLs of one daemon. If an address
    /// fails, the client uses the next one, and stays there as long as that one responds.
    ///
    /// It is one daemon for the rest of the client: submissions, handles and webhook secrets are those of the first URL, and job ids are valid
    /// at each address. A request that surely did not arrive (no connection, 503 with `Retry-After`) goes to the next address at once. So
    /// does a `GET` that has failed in any way, or has no response after 30 s divided by the number of addresses. Another request that
    /// may have arrived ends as without other addresses; whatever follows it (a poll, a safe retry) goes to the next address. An
    /// address has failed after a request without a response, after 5 s in which it has not responded to callers that have given up, and after
    /// a 502, 503 or 504. The event stream moves with the requests. An error names the address whose response it is, and the others that were
    /// tried; [`Error::daemon`] is the first URL.
    ///
    /// With [`assume_idempotency`](Self::assume_idempotency), a submission without a response is sent to the next address. Foreman's
    /// daemons support idempotency keys, but a client knows that only after the first response of one.
    ///
    /// Once a daemon has named its queue, another address is used only if its daemon names the same one. Any other response of it, such as
    /// a 401 or the page of a proxy, counts as a failed connection unless it is to a submission that may have arrived. So does a 404 that
    /// names no queue, at any address. A client knows only what its responses have named: one that starts while the first address is down
    /// takes the queue of the second for the right one.
    ///
    /// All addresses must accept the token of the client, and the daemons sign webhooks with one secret. Clients of a process that pass one
    /// [`SubmitRequest`](crate::SubmitRequest) to each other must have the same first URL. Two daemons with different
    /// queues are no addresses of one: a request to the second one has no effect there, counts as a failed connection, and has that as the
    /// source of its error. For those, use a [`Pool`](crate::Pool). A queue that was made anew is used when the address of the old one has
    /// failed and for a minute the others have named the new one alone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
    /// use foreman_client::{Client, SubmitRequest};
    /// # let daemon = foreman_daemon::Daemon::start().await?;
    /// # let (box_1, box_2) = ("http://127.0.0.1:9", daemon.url());
    ///
    /// // The first one is down.
    /// let client = Client::builder(box_1).other_addresses([box_2]).build().await?;
    /// let request = SubmitRequest::builder("echo").user("Hello").build()?;
    /// assert!(client.submit(request).await?.is_success());
    /// # Ok(()) }
    /// ```
    pub fn other_addresses(mut self, urls: impl IntoIterator<Item: Into<String>>) -> Self {
        self.other_addresses.extend(urls.into_iter().map(Into::into));
        self
    }

    /// Sets the limits of the default HTTP client, such as the connect timeout.
    pub fn transport(mut self, transport: TransportBuilder) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The bearer token for the daemon; none unless set.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The secret with which the daemon signs its webhooks; none unless set. May be called several times: during a rotation, events
    /// signed with any of the secrets are accepted. Without a secret, an event is only a hint: the client polls the daemon.
    ///
    /// Clients that share a receiver, by [`webhooks`](ClientBuilder::webhooks) or [`notifier`](ClientBuilder::notifier), have a secret
    /// each: the event of a job is accepted only with the secret of the client that submitted it. The secrets of the receiver are for
    /// the clients without one.
    pub fn webhook_secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Turns webhooks off, and binds nothing. Results come by the daemon's event stream, or by polls if it has none.
    pub fn polling(self) -> Self {
        self.webhook_mode(WebhookMode::Off)
    }

    /// The address of the webhook listener. Unless set it is the address from which the route to the daemon leaves (loopback for a
    /// daemon on loopback), with a free port.
    pub fn listen(self, address: SocketAddr) -> Self {
        self.webhook_mode(WebhookMode::Listener { address: Some(address) })
    }

    /// The URL at which the daemon reaches the webhook receiver; the address of the listener unless set. A `/` and a token are
    /// appended to it.
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(url.into());
        self
    }

    /// The size limit of a webhook, in bytes; 8 MiB unless set, because results contain artifacts. A webhook above it is a hint: the
    /// client polls at once.
    pub fn max_webhook_body(mut self, bytes: usize) -> Self {
        self.max_webhook_body = Some(bytes);
        self
    }

    /// Takes events from a receiver that you have mounted, in an axum router for example, and that feeds this notifier. Nothing is
    /// bound. [`public_url`](ClientBuilder::public_url) must be the URL of that receiver. Any number of clients may share a notifier, each
    /// with the [secret](ClientBuilder::webhook_secret) of its daemon.
    pub fn notifier(self, notifier: Notifier) -> Self {
        self.webhook_mode(WebhookMode::Mounted(notifier))
    }

    /// Takes events from an endpoint that other clients use too, such as all clients of a [`Pool`](crate::Pool): they have one listener
    /// and one registry, and each has the [secret](ClientBuilder::webhook_secret) of its daemon. A secret set here takes the place of
    /// those of the endpoint, and a [`public_url`](ClientBuilder::public_url) that of its URL, for a daemon that reaches the listener at
    /// another address.
    ///
    /// The listener stays open as long as a client uses it, and [`Client::shutdown`] does not close it.
    pub fn webhooks(self, endpoint: WebhookEndpoint) -> Self {
        self.webhook_mode(WebhookMode::Shared(endpoint))
    }

    fn webhook_mode(mut self, mode: WebhookMode) -> Self {
        if let (Some(before), Some(now)) = (self.webhooks.option(), mode.option())
            && before != now
        {
            self.conflict.get_or_insert((now, before));
        }
        self.webhooks = mode;
        self
    }

    /// How long waits on a submission may last from its first call; without limit unless set. At the deadline the job is polled once more.
    /// The job goes on, unless the drop policy cancels it when the last clone of the request is gone. A retry does not start the deadline
    /// anew. A request may have a shorter one ([`SubmitRequest::with_deadline`](crate::SubmitRequest::with_deadline)).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The daemon is known to support idempotency keys, so that even the first submission of this process may be sent again if its response
    /// is lost. Unless set, that is learned from the first `202`.
    pub fn assume_idempotency(mut self) -> Self {
        self.assume_idempotency = true;
        self
    }

    /// What happens to an abandoned job; it goes on unless set here or by the request.
    pub fn on_drop(mut self, policy: DropPolicy) -> Self {
        self.on_drop = policy;
        self
    }

    /// The retry policy of submissions; up to four retries unless set, and only where a retry cannot run the job twice.
    pub fn retry(mut self, policy: RetrySubmission) -> Self {
        self.retry = policy;
        self
    }

    /// The timeout of the final poll at the deadline. Unless set, it is a tenth of the deadline, at least 100 ms and at most 1 s.
    /// A wait ends at most that long after its deadline.
    pub fn final_poll_timeout(mut self, limit: Duration) -> Self {
        self.final_poll_timeout = Some(limit);
        self
    }

    /// How long a wait with webhooks gives an event to name the job after the response to the submission was lost; 10 s unless set. After
    /// that it fails, unless the daemon supports idempotency keys. To such a daemon the submission is sent again, up to three times: after
    /// 250 ms, 2 s and this window, each up to half longer.
    pub fn lost_response_window(mut self, window: Duration) -> Self {
        self.lost_response_window = Some(window);
        self
    }

    /// How long all polls may fail before the wait ends with the last error; 2 min unless set. A successful poll or an
    /// event resets it.
    pub fn failure_budget(mut self, budget: Duration) -> Self {
        self.failure_budget = Some(budget);
        self
    }

    /// Polls at a fixed interval. [`poll_policy`](ClientBuilder::poll_policy) sets more.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_policy = PollPolicy::every(interval);
        self
    }

    /// How often to poll; [`PollPolicy::default`] unless set.
    pub fn poll_policy(mut self, policy: PollPolicy) -> Self {
        self.poll_policy = Ok(policy);
        self
    }

    /// The timeout of one HTTP request; 30 s unless set. A long poll may take longer, by the time that the daemon is asked to hold it.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = Some(limit);
        self
    }

    /// The size limit of a response, in bytes; 64 MiB unless set.
    pub fn max_response_size(mut self, bytes: usize) -> Self {
        self.max_response_size = Some(bytes);
        self
    }

    /// Builds a client over the default HTTP client, a [`Transport`](crate::api::Transport).
    ///
    /// Binds the webhook listener, unless webhooks are off or mounted elsewhere. If it cannot be bound, the client polls and logs that
    /// once at `warn`.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for an option that cannot work, and for one that has no effect: a secret, a public URL
    /// or a body limit with [`polling`](ClientBuilder::polling), a body limit with [`notifier`](ClientBuilder::notifier) or
    /// [`webhooks`](ClientBuilder::webhooks). Also if two of [`polling`](ClientBuilder::polling), [`listen`](ClientBuilder::listen),
    /// [`notifier`](ClientBuilder::notifier) and [`webhooks`](ClientBuilder::webhooks) are set.
    ///
    /// [`Error::is_connect`] if the address of the listener depends on the route to the daemon, and the daemon's name cannot be resolved or
    /// there is no route. Build again later, or set [`listen`](ClientBuilder::listen) or [`polling`](ClientBuilder::polling).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn build(mut self) -> Result<Client, Error> {
        let addresses = self.addresses()?;
        let transport = self.transport.take().unwrap_or_default();
        let transport = match addresses.bases() {
            [base] => transport.build(base)?,
            _ => transport.build_for(&addresses, self.request_timeout.unwrap_or(REQUEST_TIMEOUT))?,
        };
        self.build_over(transport, addresses.bases()).await
    }

    fn addresses(&self) -> Result<Arc<Addresses>, Error> {
        let others = self.other_addresses.iter().map(|url| BaseUrl::parse("other_addresses", url));
        Ok(Arc::new(Addresses::new(self.base_url.parse()?, others.collect::<Result<Vec<_>, _>>()?)))
    }

    /// Builds a client over an HTTP service of your own: any `Service<http::Request<Full<Bytes>>>`, with whatever layers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
    /// use foreman_client::Client;
    /// use foreman_client::api::{BaseUrl, Transport};
    /// # let daemon = foreman_daemon::Daemon::start().await?;
    /// # let url = daemon.url();
    ///
    /// let base: BaseUrl = url.parse()?;
    /// let team = http::HeaderValue::from_static("search");
    /// let http = tower::ServiceBuilder::new()
    ///     .map_request(move |mut request: http::Request<_>| {
    ///         request.headers_mut().insert("x-team", team.clone());
    ///         request
    ///     })
    ///     .service(Transport::new(&base)?);
    /// let client = Client::builder(url).build_with(http).await?;
    /// # client.models().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors of the HTTP service
    ///
    /// They are classified as by [`Error::from_boxed`]. An error type that this
    /// crate does not know, such as the one of reqwest for a timeout, is neither a
    /// timeout nor retryable. Map it to an [`io::Error`](std::io::Error) of the
    /// kind `TimedOut`, which has its message and its sources. Leave errors of
    /// connecting as they are: hyper-util's error below shows that nothing was
    /// sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), foreman_client::BoxError> {
    /// # mod reqwest {
    /// #     #[derive(Debug)]
    /// #     pub struct Error;
    /// #     impl Error {
    /// #         pub fn is_timeout(&self) -> bool { true }
    /// #         pub fn is_connect(&self) -> bool { false }
    /// #     }
    /// #     impl std::fmt::Display for Error {
    /// #         fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    /// #             f.write_str("operation timed out")
    /// #         }
    /// #     }
    /// #     impl std::error::Error for Error {}
    /// # }
    /// use std::io;
    ///
    /// use foreman_client::{BoxError, Client};
    ///
    /// fn timeouts(error: reqwest::Error) -> BoxError {
    ///     if error.is_timeout() && !error.is_connect() {
    ///         io::Error::new(io::ErrorKind::TimedOut, error).into()
    ///     } else {
    ///         error.into()
    ///     }
    /// }
    /// # type Request = http::Request<http_body_util::Full<bytes::Bytes>>;
    /// # type Response = http::Response<http_body_util::Full<bytes::Bytes>>;
    /// # let http = tower::service_fn(async |_: Request| {
    /// #     Err::<Response, _>(reqwest::Error)
    /// # });
    ///
    /// let http = tower::ServiceBuilder::new().map_err(timeouts).service(http);
    /// let client = Client::builder("http://gpu-box:11435")
    ///     .polling()
    ///     .build_with(http)
    ///     .await?;
    /// # assert!(client.models().await.unwrap_err().is_timeout());
    /// # Ok(()) }
    /// ```
    ///
    /// The body of a response has errors too, which `BodyExt::map_err` of
    /// http-body-util maps in the same way.
    ///
    /// # Errors
    ///
    /// As [`build`](ClientBuilder::build); also if [`transport`](ClientBuilder::transport) is set, which has no effect here, or
    /// [`other_addresses`](ClientBuilder::other_addresses), for which there is [`FailoverLayer`](crate::api::FailoverLayer).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn build_with<T>(self, http: T) -> Result<Client<T>, Error>
    where
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
    {
        if self.transport.is_some() {
            return Err(Error::invalid("transport", "has no effect on an HTTP service of your own"));
        }
        if !self.other_addresses.is_empty() {
            return Err(Error::invalid("other_addresses", "need a FailoverLayer around an HTTP service of your own"));
        }
        let base: BaseUrl = self.base_url.parse()?;
        self.build_over(http, &[base]).await
    }

    async fn build_over<T>(self, http: T, addresses: &[BaseUrl]) -> Result<Client<T>, Error>
    where
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
    {
        if let Some((option, other)) = self.conflict {
            return Err(Error::invalid(option, format!("cannot be combined with {other}")));
        }
        let policy = self.poll_policy?;
        let mut api = Api::new(addresses[0].clone(), http);
        if addresses.len() > 1 {
            api = api.over_failover();
        }
        if let Some(token) = self.token {
            api = api.token(token)?;
        }
        if let Some(limit) = self.request_timeout {
            api = api.request_timeout(limit)?;
        }
        if let Some(bytes) = self.max_response_size {
            api = api.max_response_size(bytes)?;
        }
        let mut waits = WaitLayer::builder(api.clone()).daemon(api.daemon_id());
        waits = waits.poll_policy(policy).on_drop(self.on_drop, api.clone()).event_stream(api.clone());
        if let Some(deadline) = self.deadline {
            waits = waits.deadline(deadline);
        }
        if self.assume_idempotency {
            waits = waits.assume_idempotency();
        }
        if let Some(window) = self.lost_response_window {
            waits = waits.lost_response_window(window);
        }
        if let Some(limit) = self.final_poll_timeout {
            waits = waits.final_poll_timeout(limit);
        }
        if let Some(budget) = self.failure_budget {
            waits = waits.failure_budget(budget);
        }
        // Checked before anything is bound.
        waits.clone().build()?;
        let options = WebhookOptions {
            secrets: &self.secrets,
            public_url: self.public_url.as_deref(),
            max_body: self.max_webhook_body,
        };
        let owns_listener = self.webhooks.is_own_listener();
        let webhooks = self.webhooks.open(addresses, options).await?;
        if let Some(endpoint) = &webhooks {
            waits = waits.webhooks(endpoint.clone());
        }
        let jobs = stack(&api, &waits.build()?, self.retry);
        let addresses = addresses.into();
        Ok(Client(Arc::new(Inner { api, addresses, jobs, webhooks, owns_listener })))
    }
}

/// The token and the secrets are not shown.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("base_url", &self.base_url)
            .field("other_addresses", &self.other_addresses)
            .field("token", &self.token.is_some())
            .field("webhook_secrets", &self.secrets.len())
            .field("webhooks", &self.webhooks)
            .field("public_url", &self.public_url)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
