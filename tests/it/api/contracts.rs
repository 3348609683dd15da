//! Properties at compile time: traits and sizes.

use foreman_client::api::{Accepted, Api, ApiFuture, BaseUrl, GetJob, HttpService, Transport};
use foreman_client::source::{PollPolicy, PollStream, WebhookStats};
use foreman_client::submission::States;
use foreman_client::wait::{Wait, WaitStats, WebhookEndpoint};
use foreman_client::{
    BoxError, EmbedRequest, Error, JobId, JobResult, JobStatus, JobWait, Notifier, StateChange, Submission,
    SubmitRequest, WaitLayer,
};
use tower::{Layer, Service};

use crate::support::{MockApi, MockHttp};

type DefaultApi = Api<Transport>;

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn cloned<T: Clone + Send + Sync + 'static>() {}

#[test]
fn public_types_are_send_and_sync() {
    cloned::<SubmitRequest>();
    cloned::<EmbedRequest>();
    cloned::<Submission>();
    cloned::<JobId>();
    cloned::<JobStatus>();
    cloned::<JobResult>();
    cloned::<StateChange>();
    cloned::<Accepted>();
    cloned::<Notifier>();
    cloned::<WebhookStats>();
    cloned::<WaitStats>();
    cloned::<WebhookEndpoint>();
    cloned::<PollPolicy>();
    cloned::<BaseUrl>();
    cloned::<DefaultApi>();
    cloned::<WaitLayer<DefaultApi>>();
    cloned::<Wait<DefaultApi, DefaultApi>>();
    shared::<Error>();
    sent::<States>();
    sent::<PollStream<DefaultApi>>();
    sent::<JobWait<DefaultApi, DefaultApi>>();
    sent::<<DefaultApi as Service<SubmitRequest>>::Future>();
}

#[test]
fn wait_can_be_boxed() {
    fn boxed(wait: Wait<MockApi, MockApi>) -> tower::util::BoxCloneSyncService<SubmitRequest, JobResult, Error> {
        tower::util::BoxCloneSyncService::new(wait)
    }
    fn any_layer<L: Layer<MockApi, Service = Wait<MockApi, MockApi>>>(_: &L) {}
    fn any_http<T: HttpService>() {}
    let _ = boxed;
    any_layer(&WaitLayer::new(crate::support::ScriptedDaemon::new().0));
    any_http::<MockHttp>();
    any_http::<Transport>();
}

#[test]
fn error_survives_boxing() {
    let error = "no such url".parse::<BaseUrl>().unwrap_err();
    let text = error.to_string();
    let boxed: BoxError = error.into();
    assert_eq!(Error::from_boxed(boxed).to_string(), text);
}

/// A gateway has one `JobWait` for each job in flight.
#[test]
fn future_sizes_are_bounded() {
    fn size<T>() -> usize {
        std::mem::size_of::<T>()
    }
    assert_eq!(size::<Error>(), size::<usize>());
    assert!(size::<SubmitRequest>() <= 4 * size::<usize>());
    assert_eq!(size::<JobResult>(), 2 * size::<usize>());
    let (exchange, wait) =
        (size::<<DefaultApi as Service<GetJob>>::Future>(), size::<JobWait<DefaultApi, DefaultApi>>());
    assert!(exchange <= 512, "an exchange takes {exchange} bytes");
    assert!(wait <= 1024, "a wait takes {wait} bytes");
    let _: fn(ApiFuture<(), (), GetJob>) = drop;
}
