//! Somebody's gateway, tested against a daemon that misbehaves.
//!
//! The gateway is the smallest there is: `POST /ask` takes a prompt and answers the model's text, and what goes wrong is a problem
//! (RFC 9457). It knows nothing of faults. The test starts it in front of an embedded daemon, keeps the daemon's
//! [`Faults`](foreman_daemon::Faults), and calls the gateway as its callers do. For each fault it asserts three things: what
//! the caller got, that the job ran once (or not at all), and that the fault did happen.
//!
//! `cargo run --example gateway_faults` does all of it and ends by itself after a few seconds.

use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use foreman_client::axum::{Foreman, webhooks};
use foreman_client::source::PollPolicy;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, Error, JobId, Notifier, SubmitRequest};
use foreman_daemon::faults::{Faults, Forgery, Refusal, Seen, Times};
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

/// Starts it before the daemon at `daemon`, and says where it is.
async fn gateway(daemon: &str) -> Result<(String, Client), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build()?;
    let client = Client::builder(daemon)
        .notifier(notifier)
        .public_url(format!("{url}/foreman"))
        .deadline(DEADLINE)
        // For events that are lost while webhooks work. Half a minute, which it is unless set, is long for a test.
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

    test.nothing_wrong().await?;
    test.lost_responses().await?;
    test.down_for_a_moment().await?;
    test.down_for_good().await?;
    test.not_known_yet().await?;
    test.silent_webhooks().await?;
    test.forged_webhooks().await?;
    test.stalled_job().await?;

    test.daemon.shutdown().await;
    Ok(())
}

impl Test {
    async fn nothing_wrong(&self) -> Result<(), BoxError> {
        println!("nothing is wrong");
        self.answers_after_one_run().await?;
        assert_eq!(self.faults.seen(), Seen::default());
        Ok(())
    }

    /// The daemon has taken the job, and the connection closes without an answer.
    async fn lost_responses(&self) -> Result<(), BoxError> {
        println!("the answer to the submission is lost");
        self.faults.submissions().lose_answers(Times::Next(1));
        self.answers_after_one_run().await?;
        self.saw("lost answers", |seen| seen.lost_answers == 1).await
    }

    async fn down_for_a_moment(&self) -> Result<(), BoxError> {
        println!("the daemon is busy, twice");
        self.faults.submissions().refuse(Refusal::new(503)?.retry_after(Duration::ZERO), Times::Next(2));
        self.answers_after_one_run().await?;
        self.saw("refused submissions", |seen| seen.refused_submissions == 2).await
    }

    /// The gateway says so, and nothing has run: its caller may ask again.
    async fn down_for_good(&self) -> Result<(), BoxError> {
        println!("the daemon is busy and stays so");
        self.faults.requests().refuse(Refusal::new(503)?.retry_after(Duration::ZERO), Times::UntilCleared);
        let runs = self.daemon.stats().executions;
        let (status, problem) = self.ask("hello").await?;
        assert_eq!((status, self.daemon.stats().executions), (503, runs), "{problem}");
        let problem: Value = serde_json::from_str(&problem)?;
        assert_eq!(problem["may_be_running"], false);
        self.faults.clear();
        self.saw("more of them", |seen| seen.refused_submissions > 2).await
    }

    /// A replica that lags behind, say.
    async fn not_known_yet(&self) -> Result<(), BoxError> {
        println!("the job is not known right after the 202");
        self.faults.polls().not_found(Times::Next(1));
        // It does not end before it was asked for.
        self.faults.jobs().stall(Times::Next(1));
        let asked = async {
            let saw = self.saw("refused polls", |seen| seen.refused_polls == 1).await;
            self.faults.jobs().release();
            saw
        };
        tokio::try_join!(self.answers_after_one_run(), asked)?;
        Ok(())
    }

    async fn silent_webhooks(&self) -> Result<(), BoxError> {
        println!("no webhook tells the end");
        self.faults.last_events().silence(Times::Next(1));
        let before = self.client.stats().waits.finished_by_poll;
        self.answers_after_one_run().await?;
        assert_eq!(self.client.stats().waits.finished_by_poll, before + 1);
        self.saw("silenced events", |seen| seen.silenced_events == 1).await
    }

    /// A webhook says that the job has failed, and was changed on its way. The caller does not hear of it.
    async fn forged_webhooks(&self) -> Result<(), BoxError> {
        println!("webhooks tell a forged end, and are wrongly signed");
        self.faults.last_events().forge(Forgery::Body, Times::Next(1));
        self.answers_after_one_run().await?;
        self.faults.last_events().missign(Times::Next(1));
        self.answers_after_one_run().await?;
        self.saw("both", |seen| (seen.forged_events, seen.missigned_events) == (1, 1)).await
    }

    /// The caller is told at the deadline which job goes on; it is waited for again, and has run once.
    async fn stalled_job(&self) -> Result<(), BoxError> {
        println!("the job is taken and not begun");
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
        let result = self.client.wait(job_id.clone()).await?.into_success()?;
        println!("  released: {}", result.content().unwrap_or_default());
        assert_eq!((self.daemon.executions(&job_id).await, self.daemon.stats().executions), (1, runs + 1));
        Ok(())
    }

    /// What a caller is to get whatever goes wrong inside: the model's text, of one job that ran once.
    async fn answers_after_one_run(&self) -> Result<(), BoxError> {
        let before = self.daemon.stats();
        let (status, text) = self.ask("hello").await?;
        assert_eq!((status, text.as_str()), (200, "echo (this is no model): hello"));
        let after = self.daemon.stats();
        assert_eq!((after.accepted, after.executions), (before.accepted + 1, before.executions + 1));
        Ok(())
    }

    /// That it did go wrong.
    async fn saw(&self, what: &str, is_so: impl FnMut(&Seen) -> bool) -> Result<(), BoxError> {
        timeout(DEADLINE, self.faults.until(is_so)).await.map_err(|_| format!("there were no {what}"))?;
        Ok(())
    }

    /// What a caller does.
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
