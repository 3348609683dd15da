//! Tests a gateway against a daemon with fault injection.
//!
//! The gateway is minimal: `POST /ask` takes a prompt and returns the model's text, and errors are problem details (RFC 9457). It
//! has no code for the test. The test starts it in front of an embedded daemon, sets faults by the daemon's
//! [`Faults`](foreman_daemon::Faults), and calls the gateway as its callers do. For each fault it asserts the response to the
//! caller, that the job ran once (or not at all), and that the fault occurred.
//!
//! `cargo run --example gateway_faults` runs all of it and exits after a few seconds.

use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use foreman_client::axum08::{Foreman, webhooks};
use foreman_client::source::PollPolicy;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, Error, JobId, Notifier, SubmitRequest};
use foreman_daemon::faults::{Faults, Forgery, InjectedResponse, Seen, Times};
use foreman_daemon::{Daemon, Echo};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

const SECRET: &str = "a secret that both sides know";
const DEADLINE: Duration = Duration::from_secs(3);

// ===== the gateway =====

/// `POST /ask`
async fn ask(State(client): State<Client>, prompt: String) -> Result<String, Error> {
    let request = SubmitRequest::builder("echo").user(prompt).build()?;
    let result = client.submit(request).await?.into_success()?;
    Ok(result.content().unwrap_or_default().into_owned())
}

/// Starts the gateway for the daemon at this URL, and returns the gateway's own URL.
async fn gateway(daemon: &str) -> Result<(String, Client), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build()?;
    let client = Client::builder(daemon)
        .notifier(notifier)
        .public_url(format!("{url}/foreman"))
        .deadline(DEADLINE)
        // The interval of polls while webhooks work. The default of half a minute is long for a test.
        .poll_policy(PollPolicy::builder().slow_interval(Duration::from_millis(500)).build()?)
        .build()
        .await?;
    let router = axum::Router::new().route("/ask", post(ask)).merge(webhooks("/foreman", receiver));
    let server = axum::serve(listener, router.with_state(Foreman::new(client.clone())));
    tokio::spawn(server.into_future());
    Ok((url, client))
}

// ===== its test =====

struct Test {
    faults: Faults,
    daemon: Daemon,
    gateway: String,
    client: Client,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let faults = Faults::new();
    let daemon = Daemon::builder()
        .backend(Echo::new().delay(Duration::from_millis(50)))
        .webhook_secret(SECRET)
        .webhook_retries([Duration::from_millis(10); 5])
        .faults(faults.clone())
        .start()
        .await?;
    let (gateway, client) = gateway(&daemon.url()).await?;
    let test = Test { faults, daemon, gateway, client };

    test.without_faults().await?;
    test.lost_responses().await?;
    test.rejected_for_a_moment().await?;
    test.rejected_for_good().await?;
    test.unknown_after_202().await?;
    test.silent_webhooks().await?;
    test.forged_webhooks().await?;
    test.stalled_job().await?;

    test.daemon.shutdown().await;
    Ok(())
}

impl Test {
    async fn without_faults(&self) -> Result<(), BoxError> {
        println!("no fault");
        self.succeeds_after_one_run().await?;
        assert_eq!(self.faults.seen(), Seen::default());
        Ok(())
    }

    /// The daemon accepts the job, and closes the connection without a response.
    async fn lost_responses(&self) -> Result<(), BoxError> {
        println!("the response to the submission is lost");
        self.faults.submissions().lose_responses(Times::Next(1));
        self.succeeds_after_one_run().await?;
        self.saw("lost responses", |seen| seen.lost_responses == 1).await
    }

    async fn rejected_for_a_moment(&self) -> Result<(), BoxError> {
        println!("two submissions are rejected");
        self.faults.submissions().reject(InjectedResponse::new(503)?.retry_after(Duration::ZERO), Times::Next(2));
        self.succeeds_after_one_run().await?;
        self.saw("rejected submissions", |seen| seen.rejected_submissions == 2).await
    }

    /// The gateway reports that nothing has run, so that its caller may retry.
    async fn rejected_for_good(&self) -> Result<(), BoxError> {
        println!("all requests are rejected");
        self.faults.requests().reject(InjectedResponse::new(503)?.retry_after(Duration::ZERO), Times::UntilCleared);
        let runs = self.daemon.stats().executions;
        let (status, problem) = self.ask("hello").await?;
        assert_eq!((status, self.daemon.stats().executions), (503, runs), "{problem}");
        let problem: Value = serde_json::from_str(&problem)?;
        assert_eq!(problem["may_be_running"], false);
        self.faults.clear();
        self.saw("further rejected submissions", |seen| seen.rejected_submissions > 2).await
    }

    /// As with a replica that lags.
    async fn unknown_after_202(&self) -> Result<(), BoxError> {
        println!("the job is unknown right after the 202");
        self.faults.polls().not_found(Times::Next(1));
        // Without the stall, the job could end before the first poll. It may also start after that poll.
        self.faults.jobs().stall(Times::Next(1));
        let polled = async {
            let condition = |seen: &Seen| (seen.rejected_polls, seen.stalled_jobs) == (1, 1);
            let saw = self.saw("rejected poll of a stalled job", condition).await;
            self.faults.jobs().release();
            saw
        };
        tokio::try_join!(self.succeeds_after_one_run(), polled)?;
        Ok(())
    }

    async fn silent_webhooks(&self) -> Result<(), BoxError> {
        println!("no webhook reports the end");
        self.faults.last_events().silence(Times::Next(1));
        let before = self.client.stats().waits.finished_by_poll;
        self.succeeds_after_one_run().await?;
        assert_eq!(self.client.stats().waits.finished_by_poll, before + 1);
        self.saw("silenced events", |seen| seen.silenced_events == 1).await
    }

    /// A forged webhook reports that the job has failed. The gateway rejects it, and its caller sees no error.
    async fn forged_webhooks(&self) -> Result<(), BoxError> {
        println!("webhooks are forged, and wrongly signed");
        self.faults.last_events().forge(Forgery::Body, Times::Next(1));
        self.succeeds_after_one_run().await?;
        self.faults.last_events().sign_wrongly(Times::Next(1));
        self.succeeds_after_one_run().await?;
        self.saw("forged or wrongly signed events", |seen| (seen.forged_events, seen.wrongly_signed_events) == (1, 1))
            .await
    }

    /// At the deadline the caller gets the id of the job, which goes on. A second wait gets its result.
    async fn stalled_job(&self) -> Result<(), BoxError> {
        println!("the job is stalled");
        self.faults.jobs().stall(Times::Next(1));
        let runs = self.daemon.stats().executions;
        let (status, problem) = self.ask("hello").await?;
        let problem: Value = serde_json::from_str(&problem)?;
        assert_eq!(
            (status, &problem["last_state"], &problem["may_be_running"]),
            (504, &"running".into(), &true.into())
        );
        self.saw("stalled jobs", |seen| seen.stalled_jobs == 2).await?;
        assert_eq!(self.daemon.stats().executions, runs);

        self.faults.jobs().release();
        let job_id: JobId = problem["job_id"].as_str().ok_or("no job id")?.parse()?;
        let result = self.client.wait(&job_id).await?.into_success()?;
        println!("  released: {}", result.content().unwrap_or_default());
        assert_eq!((self.daemon.executions(&job_id).await, self.daemon.stats().executions), (1, runs + 1));
        Ok(())
    }

    /// Asserts that the caller gets the model's text, from one job that ran once.
    async fn succeeds_after_one_run(&self) -> Result<(), BoxError> {
        let before = self.daemon.stats();
        let (status, text) = self.ask("hello").await?;
        assert_eq!((status, text.as_str()), (200, "echo (this is no model): hello"));
        let after = self.daemon.stats();
        assert_eq!((after.accepted, after.executions), (before.accepted + 1, before.executions + 1));
        Ok(())
    }

    /// Waits until the fault has occurred.
    async fn saw(&self, what: &str, condition: impl FnMut(&Seen) -> bool) -> Result<(), BoxError> {
        timeout(DEADLINE, self.faults.until(condition)).await.map_err(|_| format!("no {what}"))?;
        Ok(())
    }

    /// Calls the gateway.
    async fn ask(&self, prompt: &'static str) -> Result<(u16, String), BoxError> {
        let begin = Instant::now();
        let http = Http::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = Request::post(format!("{}/ask", self.gateway)).body(Full::from(prompt))?;
        let (head, body) = http.request(request).await?.into_parts();
        let text = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
        println!("  {} after {:.1?}: {text}", head.status, begin.elapsed());
        Ok((head.status.as_u16(), text))
    }
}
