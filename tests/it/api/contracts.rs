//! What must hold at compile time.

use foreman_client::api::{Accepted, Api, ApiFuture, BaseUrl, GetJob, HttpService, Transport};
use foreman_client::source::{PollPolicy, PollStream, WebhookStats};
use foreman_client::submission::States;
use foreman_client::wait::{Wait, WaitStats, WebhookEndpoint};
use foreman_client::{
    BoxError, EmbedRequest, Error, JobId, JobResult, JobStatus, JobWait, Notifier, StateChange, Submission,
    SubmitRequest, WaitLayer,
};
use tower::{Layer, Service};

use crate::support::{Http, TestApi};

type Usual = Api<Transport>;

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn cloned<T: Clone + Send + Sync + 'static>() {}

#[test]
fn everything_can_be_sent_and_nearly_everything_shared() {
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
    cloned::<Usual>();
    cloned::<WaitLayer<Usual>>();
    cloned::<Wait<Usual, Usual>>();
    shared::<Error>();
    sent::<States>();
    sent::<PollStream<Usual>>();
    sent::<JobWait<Usual, Usual>>();
    sent::<<Usual as Service<SubmitRequest>>::Future>();
}

#[test]
fn the_wait_fits_where_boxed_services_are_kept() {
    fn boxed(wait: Wait<TestApi, TestApi>) -> tower::util::BoxCloneSyncService<SubmitRequest, JobResult, Error> {
        tower::util::BoxCloneSyncService::new(wait)
    }
    fn any_layer<L: Layer<TestApi, Service = Wait<TestApi, TestApi>>>(_: &L) {}
    fn any_http<T: HttpService>() {}
    let _ = boxed;
    any_layer(&WaitLayer::new(crate::support::Daemon::new().0));
    any_http::<Http>();
    any_http::<Transport>();
}

#[test]
fn an_error_fits_through_a_boxing_layer_and_back() {
    let error = "no such url".parse::<BaseUrl>().unwrap_err();
    let text = error.to_string();
    let boxed: BoxError = error.into();
    assert_eq!(Error::from_boxed(boxed).to_string(), text);
}

/// A gateway holds one of these for each job that it waits for: growth is to be noticed.
#[test]
fn a_waiting_job_is_small() {
    fn size<T>() -> usize {
        std::mem::size_of::<T>()
    }
    assert_eq!(size::<Error>(), size::<usize>());
    assert_eq!(size::<SubmitRequest>(), 2 * size::<usize>());
    assert_eq!(size::<JobResult>(), size::<usize>());
    let (exchange, wait) = (size::<<Usual as Service<GetJob>>::Future>(), size::<JobWait<Usual, Usual>>());
    assert!(exchange <= 512, "an exchange takes {exchange} bytes");
    assert!(wait <= 1024, "a wait takes {wait} bytes");
    let _: fn(ApiFuture<(), (), GetJob>) = drop;
}
