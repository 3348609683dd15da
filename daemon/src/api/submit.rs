use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{App, Rejection, body, json};
use crate::failure::failure;
use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::peer::Peer;
use crate::store::{IdempotencyKey, NewJob, SubmitError};
use crate::streams::check_name;
use crate::{InvalidValue, JobId};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

/// The longest model name, in bytes. Every store holds those of queued jobs in memory.
const MAX_MODEL: usize = 1024;

#[derive(Serialize)]
struct SubmitResponse<'a> {
    job_id: &'a JobId,
}

/// `POST /jobs`
pub(super) async fn submit(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    app.submission_rates.check(owner).map_err(|seconds| {
        app.jobs.counters.refused.add();
        Rejection::retry_after(StatusCode::TOO_MANY_REQUESTS, "the token submits too many jobs a second", seconds)
    })?;
    let key = single(request.headers(), &IDEMPOTENCY_KEY)?;
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "Idempotency-Key must have 1 to 255 bytes"));
    }
    let peer = request.extensions().get().copied().unwrap_or(Peer::Remote);
    let traceparent = request.headers().get(TRACEPARENT).cloned();
    let (body, lease) = body::read(request, &app.body_limits).await?;
    let submission: JobSpec = body::parse(&body)?;
    if submission.model.is_empty() {
        return Err(unprocessable("model must not be missing or empty"));
    }
    if submission.model.contains('\0') {
        return Err(unprocessable("model must not contain NUL"));
    }
    if submission.model.len() > MAX_MODEL {
        return Err(unprocessable("model must have at most 1,024 bytes"));
    }
    let refused = |error: InvalidValue| unprocessable(failure(&error));
    let webhook = submission.webhook().map_err(refused)?;
    if let Some(url) = &webhook {
        app.policy.check_url(url, peer).map_err(refused)?;
    }
    if let Some(name) = &submission.event_stream {
        check_name("event_stream", name).map_err(refused)?;
    }
    // As it was last read: without the database, the submission is not refused for good.
    let fleet = app.jobs.fleet();
    let Some(members) = app.backends.for_submission(&submission.model, fleet.as_deref()).await else {
        if app.jobs.has_lost_lease() {
            let reason = "the models of the other daemons are not known at present";
            return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, reason, 10));
        }
        if let Some(name) = fleet.as_deref().and_then(|fleet| fleet.was_at(&submission.model)) {
            let reason =
                format!("no backend has the model {}, except those of box {name}, which is down", submission.model);
            return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, reason, 10));
        }
        return Err(unprocessable(format!("no backend has the model {}", submission.model)));
    };
    // Each of them may get the job.
    members.iter().try_for_each(|member| (member.backend.check)(&submission)).map_err(refused)?;
    let idempotency_key = key.as_ref().map(|key| IdempotencyKey { text: key.as_bytes().into(), digest: digest(&body) });
    if app.closing.is_cancelled() {
        return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping", 5));
    }
    let (priority, start_by) = (submission.priority, submission.start_by(Timestamp::now()));
    let new = NewJob { owner, submission, body, webhook, traceparent, priority, start_by, key: idempotency_key };
    let jobs = Arc::clone(&app.jobs);
    let submitted = app.jobs.run_detached(async move {
        // Until the body is stored.
        let _lease = lease;
        jobs.submit(new).await
    });
    let submitted = submitted.await?;
    let too_many = |reason| Rejection::retry_about(StatusCode::TOO_MANY_REQUESTS, reason, 5);
    let submitted = submitted.map_err(|error| match error {
        SubmitError::KeyReused => unprocessable("Idempotency-Key already used with another body"),
        SubmitError::Full => too_many("the queue is full"),
        SubmitError::TooManyOfOwner => too_many("the token has too many queued jobs"),
        SubmitError::MemoryFull => too_many("the jobs in memory have as many bytes as they may"),
    })?;
    let mut response = json(StatusCode::ACCEPTED, &SubmitResponse { job_id: &submitted.job_id });
    if let Ok(location) = HeaderValue::try_from(format!("/jobs/{}", submitted.job_id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(key) = key {
        response.headers_mut().insert(IDEMPOTENCY_KEY, key);
    }
    Ok(response)
}

fn unprocessable(reason: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().cloned();
    if values.next().is_some() {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, format!("{name} given more than once")));
    }
    Ok(first)
}

/// The digest of a body without its callback URL and event stream: a client that was restarted submits the same conversation from
/// another address.
fn digest(body: &[u8]) -> [u8; 32] {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(body) else {
        return Sha256::digest(body).into();
    };
    fields.remove("state_webhook_url");
    fields.remove("event_stream");
    let mut digest = Sha256::new();
    for (name, value) in fields {
        for part in [name.as_bytes(), value.get().as_bytes()] {
            // With the lengths, so that no two conversations have the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use foreman_protocol::http1::ByteBudget;
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    use super::*;
    use crate::api::{AllowedHosts, BodyLimits, QueueId, SubmissionRates, Tokens, router};
    use crate::backend::Echo;
    use crate::backends::{Backends, Member, Takes};
    use crate::delivery::{OwnServers, Policy};
    use crate::jobs::Jobs;
    use crate::lists::Lists;
    use crate::store::StoreOptions;
    use crate::vital::Vital;

    #[test]
    fn digest_ignores_where_events_go_and_the_order_of_fields() {
        let same = [
            r#"{"model":"m","messages":[],"state_webhook_url":"http://a/1"}"#,
            r#"{ "messages":[], "state_webhook_url":"http://b/2", "model":"m" }"#,
            r#"{"model":"m","messages":[],"event_stream":"c"}"#,
            r#"{"model":"m","messages":[]}"#,
        ];
        for body in same {
            assert_eq!(digest(body.as_bytes()), digest(same[0].as_bytes()), "{body}");
        }
        for other in [r#"{"model":"n","messages":[]}"#, r#"{"model":"m","messages":[1]}"#, r#"{"model":"m"}"#] {
            assert_ne!(digest(other.as_bytes()), digest(same[0].as_bytes()), "{other}");
        }
    }

    #[tokio::test]
    async fn loopback_callback_needs_submission_over_loopback() {
        let echo = Member::new(0, "echo", Echo::new().into(), NonZeroUsize::MIN, 1, Takes::Every, Lists::default());
        let app = Arc::new(App {
            jobs: Arc::new(Jobs::in_memory(&StoreOptions::of_test(9))),
            queue: QueueId::new(uuid::Uuid::nil()),
            backends: Arc::new(Backends::new(vec![Arc::new(echo)], false, Duration::ZERO)),
            tokens: Tokens::new(&[]),
            admin: Tokens::new(&[]),
            policy: Policy { hosts: None, private: true, loopback: false, own: OwnServers::default() },
            submission_rates: SubmissionRates::new(None),
            body_limits: BodyLimits { body: 1024, all: ByteBudget::new(1024) },
            hosts: AllowedHosts::Any,
            max_hold: Duration::ZERO,
            holds: Semaphore::new(0),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            vital: Vital::default(),
        });
        for (peer, host, status) in [
            (Some(Peer::Local), "127.0.0.1", 202),
            (Some(Peer::Local), "localhost", 202),
            (Some(Peer::Remote), "127.0.0.1", 422),
            (Some(Peer::Remote), "localhost", 422),
            (None, "127.0.0.1", 422),
            (Some(Peer::Remote), "10.0.0.1", 202),
        ] {
            let body = format!(r#"{{"model":"m","state_webhook_url":"http://{host}:1/"}}"#);
            let mut request = Request::post("/jobs").header(header::CONTENT_TYPE, "application/json");
            if let Some(peer) = peer {
                request = request.extension(peer);
            }
            let response = router(Arc::clone(&app)).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{peer:?} {host}");
        }
    }
}
