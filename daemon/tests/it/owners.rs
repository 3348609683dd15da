//! Several tokens: a job is visible only to the token that submitted it.

use std::path::Path;
use std::time::Duration;

use foreman_daemon::{Builder, Daemon};
use serde_json::Value;

use super::gate::Gate;
use super::raw::{RawResponse, accepted, exchange, id, request};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const KEY: &str = "Idempotency-Key: 3f0b6e9c";

/// Sends requests with a token, or without one.
#[derive(Clone, Copy)]
pub(crate) struct By<'a>(pub(crate) &'a Daemon, pub(crate) Option<&'a str>);

impl By<'_> {
    pub(crate) async fn send(self, method: &str, path: &str, headers: &[&str], body: &str) -> RawResponse {
        let authorization = self.1.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> =
            headers.iter().copied().chain(authorization.as_deref()).chain(["Content-Type: application/json"]).collect();
        exchange(self.0, request(method, path, &headers, body)).await
    }

    pub(crate) async fn get(self, path: &str) -> RawResponse {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn submit(self) -> String {
        accepted(&self.send("POST", "/jobs", &[], BODY).await)
    }

    pub(crate) async fn state(self, job: &str) -> String {
        let response = self.get(&format!("/jobs/{job}")).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["state"].as_str().unwrap().to_owned()
    }

    async fn ended(self, job: &str) -> Value {
        self.send("GET", &format!("/jobs/{job}"), &["Prefer: wait=60"], "").await.json()
    }

    /// The job ids of a page, and the cursor of the next page.
    async fn page(self, query: &str) -> (Vec<String>, Option<String>) {
        let json = self.get(&format!("/jobs{query}")).await.json();
        let jobs = json["jobs"].as_array().unwrap();
        let ids = jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect();
        (ids, json.get("next_cursor").and_then(Value::as_str).map(ToOwned::to_owned))
    }
}

fn two() -> Builder {
    Daemon::builder().token("one").token("two")
}

#[tokio::test]
async fn only_configured_tokens_are_accepted() {
    let daemon = Daemon::builder().token("one").tokens(["two", "three"]).token("one").start().await.unwrap();
    for path in ["/jobs", "/jobs?state=done", "/api/tags", "/metrics"] {
        for token in ["one", "two", "three"] {
            assert_eq!(By(&daemon, Some(token)).get(path).await.status, 200, "{token} at {path}");
        }
        for token in [None, Some("four"), Some("onetwo"), Some("one,two")] {
            By(&daemon, token).get(path).await.refused(401);
        }
    }
}

#[tokio::test]
async fn each_token_is_validated() {
    for (builder, message) in [
        (two().token(""), "invalid token: must not be empty"),
        (two().tokens(["three", ""]), "invalid token: must not be empty"),
        (two().tokens(["three", "fo ur"]), "invalid token: must be visible ASCII without blanks"),
        (Daemon::builder().token("\u{e4}").token("fine"), "invalid token: must be visible ASCII without blanks"),
    ] {
        assert_eq!(builder.start().await.unwrap_err().to_string(), message);
    }
}

#[tokio::test]
async fn other_owners_job_is_not_found() {
    let (gate, backend) = Gate::new();
    let daemon = two().backend(backend).start().await.unwrap();
    let (one, two) = (By(&daemon, Some("one")), By(&daemon, Some("two")));
    let (running, queued) = (one.submit().await, one.submit().await);
    gate.begun().await;
    let foreign = async |job: &str| {
        for (method, headers) in [
            ("GET", &[][..]),
            ("GET", &["Prefer: wait=60"]),
            ("GET", &["Prefer: wait=60", "If-None-Match: W/\"running-1\""]),
            ("DELETE", &[]),
        ] {
            let response = two.send(method, &format!("/jobs/{job}"), headers, "").await;
            let unknown = two.send(method, "/jobs/01932c07a2f47e6bb1a00f4a4f0c8d11", headers, "").await;
            assert_eq!(response.refused(404), "job not found");
            assert_eq!(response.body, unknown.body);
            for header in ["etag", "preference-applied", "content-type", "content-length"] {
                assert_eq!(response.header(header), unknown.header(header), "{header} of {method}");
            }
        }
    };
    for job in [&running, &queued] {
        foreign(job).await;
    }
    assert_eq!((one.state(&running).await, one.state(&queued).await), ("running".to_owned(), "queued".to_owned()));
    assert_eq!(daemon.stats().polls, 2);
    assert_eq!(one.send("DELETE", &format!("/jobs/{queued}"), &[], "").await.status, 202);
    gate.open(1);
    assert_eq!(one.ended(&running).await["state"], "done");
    // An ended job is not visible either.
    for job in [&running, &queued] {
        foreign(job).await;
        one.send("DELETE", &format!("/jobs/{job}"), &[], "").await.refused(409);
    }
    assert_eq!(daemon.stats().cancelled, 1);
}

#[tokio::test]
async fn idempotency_key_belongs_to_token() {
    let daemon = two().start().await.unwrap();
    let (one, two) = (By(&daemon, Some("one")), By(&daemon, Some("two")));
    let job = accepted(&one.send("POST", "/jobs", &[KEY], BODY).await);
    let other = BODY.replace("hello", "bye");
    let others = accepted(&two.send("POST", "/jobs", &[KEY], &other).await);
    assert_ne!(job, others);
    assert_eq!(accepted(&one.send("POST", "/jobs", &[KEY], BODY).await), job);
    assert_eq!(accepted(&two.send("POST", "/jobs", &[KEY], &other).await), others);
    one.send("POST", "/jobs", &[KEY], &other).await.refused(422);
    two.send("POST", "/jobs", &[KEY], BODY).await.refused(422);
    assert_eq!((daemon.stats().accepted, daemon.stats().replayed), (2, 2));
}

#[tokio::test]
async fn list_has_own_jobs_with_any_cursor() {
    let (gate, backend) = Gate::new();
    let daemon = two().backend(backend).start().await.unwrap();
    let (one, two) = (By(&daemon, Some("one")), By(&daemon, Some("two")));
    let (mut ones, mut twos) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ones.insert(0, one.submit().await);
        twos.insert(0, two.submit().await);
    }
    gate.begun().await;
    assert_eq!(one.page("").await, (ones.clone(), None));
    assert_eq!(two.page("?limit=3").await, (twos.clone(), None));
    let (first, next) = one.page("?limit=2").await;
    let query = format!("?limit=2&cursor={}", next.unwrap());
    assert_eq!(first, ones[..2]);
    assert_eq!(one.page(&query).await, (ones[2..].to_vec(), None));
    // With the same cursor, the other token sees its own jobs.
    assert_eq!(two.page(&query).await, (twos[2..].to_vec(), None));
    // With a state: only one job runs, which is the first token's.
    assert_eq!(one.page("?state=running").await, (vec![ones[2].clone()], None));
    assert_eq!(two.page("?state=running").await, (vec![], None));
    let (queued, next) = two.page("?state=queued&limit=2").await;
    assert_eq!(queued, twos[..2]);
    let query = format!("?state=queued&limit=2&cursor={}", next.unwrap());
    assert_eq!(two.page(&query).await, (vec![twos[2].clone()], None));
}

#[tokio::test]
async fn metrics_cover_all_tokens() {
    let daemon = two().start().await.unwrap();
    By(&daemon, Some("one")).submit().await;
    By(&daemon, Some("two")).submit().await;
    let metrics = By(&daemon, Some("two")).get("/metrics").await;
    assert!(metrics.body.contains("foreman_accepted_total 2\n"), "{metrics:?}");
}

#[tokio::test]
async fn without_tokens_all_jobs_are_visible() {
    let daemon = Daemon::builder().tokens(Vec::<String>::new()).start().await.unwrap();
    let (with_token, without_token) = (By(&daemon, Some("one")), By(&daemon, None));
    let (first, second) = (with_token.submit().await, without_token.submit().await);
    assert_eq!(without_token.ended(&first).await["state"], "done");
    assert_eq!(with_token.ended(&second).await["state"], "done");
    assert_eq!(with_token.page("").await, (vec![second, first], None));
}

/// A daemon with these tokens, whose shutdown does not wait for jobs.
async fn stored(folder: &Path, tokens: &[&str]) -> Daemon {
    let builder = Daemon::builder().tokens(tokens.iter().copied()).store(folder.join("jobs.db"));
    builder.drain(Duration::ZERO).start().await.unwrap()
}

#[tokio::test]
async fn job_stays_with_its_token_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = stored(folder.path(), &["old"]).await;
    let old = By(&daemon, Some("old"));
    let job = accepted(&old.send("POST", "/jobs", &[KEY], BODY).await);
    let before = old.ended(&job).await;
    daemon.shutdown().await;

    // Both tokens, as during a token rotation.
    let daemon = stored(folder.path(), &["new", "old"]).await;
    let (old, new) = (By(&daemon, Some("old")), By(&daemon, Some("new")));
    assert_eq!(old.ended(&job).await, before);
    assert_eq!((old.page("").await.0, new.page("").await.0), (vec![job.clone()], vec![]));
    new.get(&format!("/jobs/{job}")).await.refused(404);
    let news = accepted(&new.send("POST", "/jobs", &[KEY], BODY).await);
    assert_ne!(news, job);
    assert_eq!(accepted(&old.send("POST", "/jobs", &[KEY], BODY).await), job);
    new.ended(&news).await;
    daemon.shutdown().await;

    // No tokens: only jobs that were submitted without a token are visible.
    let daemon = stored(folder.path(), &[]).await;
    let anonymous = By(&daemon, None);
    assert_eq!(anonymous.page("").await.0, Vec::<String>::new());
    anonymous.get(&format!("/jobs/{job}")).await.refused(404);
    By(&daemon, Some("old")).get(&format!("/jobs/{job}")).await.refused(404);
    let open = anonymous.submit().await;
    anonymous.ended(&open).await;
    daemon.shutdown().await;

    let daemon = stored(folder.path(), &["old", "new"]).await;
    assert_eq!(By(&daemon, Some("old")).page("").await.0, [job]);
    assert_eq!(By(&daemon, Some("new")).page("").await.0, [news]);
    By(&daemon, Some("new")).get(&format!("/jobs/{open}")).await.refused(404);
}

#[tokio::test]
async fn job_of_removed_token_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (gate, backend) = Gate::new();
    let daemon = two().backend(backend).store(&path).drain(Duration::ZERO).start().await.unwrap();
    let job = By(&daemon, Some("one")).submit().await;
    gate.begun().await;
    daemon.shutdown().await;

    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().token("two").backend(backend).store(&path).start().await.unwrap();
    assert_eq!(gate.begun().await.job_id(), &id(&job));
    gate.open(1);
    By(&daemon, Some("two")).get(&format!("/jobs/{job}")).await.refused(404);
    daemon.shutdown().await;

    let daemon = two().store(&path).start().await.unwrap();
    assert_eq!(By(&daemon, Some("one")).ended(&job).await["state"], "done");
    assert_eq!(daemon.executions(&id(&job)).await, 2);
}

#[tokio::test]
async fn one_token_does_not_fill_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || Daemon::builder().tokens(["one", "two"]).max_queue(4).drain(Duration::ZERO);
    for builder in [&builder as &dyn Fn() -> Builder, &|| builder().store(folder.path().join("jobs.db"))] {
        let (gate, backend) = Gate::new();
        let daemon = builder().backend(backend).start().await.unwrap();
        let [one, two] = ["one", "two"].map(|token| By(&daemon, Some(token)));
        // One runs, and three quarters of the queue are those of a token.
        one.submit().await;
        gate.begun().await;
        for _ in 0..3 {
            one.submit().await;
        }
        let refused = one.send("POST", "/jobs", &[], BODY).await;
        assert!(refused.asks_to_wait(5), "{refused:?}");
        assert_eq!(refused.refused(429), "the token has too many queued jobs");
        let of_two = two.submit().await;
        assert_eq!(two.send("POST", "/jobs", &[], BODY).await.refused(429), "the queue is full");
        assert_eq!(daemon.stats().refused, 2);
        assert_eq!(two.send("DELETE", &format!("/jobs/{of_two}"), &[], "").await.status, 202);
        daemon.shutdown().await;
    }
    // The jobs in the file count too.
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder()
        .tokens(["one", "two"])
        .max_queue_per_token(3)
        .store(folder.path().join("jobs.db"))
        .backend(backend)
        .start()
        .await
        .unwrap();
    gate.begun().await;
    let one = By(&daemon, Some("one"));
    assert_eq!(one.send("POST", "/jobs", &[], BODY).await.refused(429), "the token has too many queued jobs");
    gate.open(1);
    gate.begun().await;
    one.submit().await;
}
