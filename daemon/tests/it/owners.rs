//! Several tokens: whose a job is, and who sees it.

use std::path::Path;
use std::time::Duration;

use foreman_daemon::{Builder, Daemon};
use serde_json::Value;

use super::gate::Gate;
use super::raw::{Answer, accepted, exchange, id, request};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const KEY: &str = "Idempotency-Key: 3f0b6e9c";

/// Who shows a token, or none.
#[derive(Clone, Copy)]
struct By<'a>(&'a Daemon, Option<&'a str>);

impl By<'_> {
    async fn ask(self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let shown = self.1.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> =
            headers.iter().copied().chain(shown.as_deref()).chain(["Content-Type: application/json"]).collect();
        exchange(self.0, request(method, path, &headers, body)).await
    }

    async fn get(self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn submit(self) -> String {
        accepted(&self.ask("POST", "/jobs", &[], BODY).await)
    }

    async fn state(self, job: &str) -> String {
        let answer = self.get(&format!("/jobs/{job}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["state"].as_str().unwrap().to_owned()
    }

    async fn ended(self, job: &str) -> Value {
        self.ask("GET", &format!("/jobs/{job}"), &["Prefer: wait=60"], "").await.json()
    }

    /// A page of the list and the cursor of the next.
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
async fn each_token_that_was_said_will_do_and_no_other() {
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
async fn tokens_are_checked_each() {
    for (builder, told) in [
        (two().token(""), "invalid token: must not be empty"),
        (two().tokens(["three", ""]), "invalid token: must not be empty"),
        (two().tokens(["three", "fo ur"]), "invalid token: must be visible ASCII without blanks"),
        (Daemon::builder().token("\u{e4}").token("fine"), "invalid token: must be visible ASCII without blanks"),
    ] {
        assert_eq!(builder.start().await.unwrap_err().to_string(), told);
    }
}

#[tokio::test]
async fn the_job_of_another_is_a_job_that_is_not_known() {
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
            let answer = two.ask(method, &format!("/jobs/{job}"), headers, "").await;
            let unknown = two.ask(method, "/jobs/01932c07a2f47e6bb1a00f4a4f0c8d11", headers, "").await;
            assert_eq!(answer.refused(404), "no such job");
            assert_eq!(answer.body, unknown.body);
            for header in ["etag", "preference-applied", "content-type", "content-length"] {
                assert_eq!(answer.header(header), unknown.header(header), "{header} of {method}");
            }
        }
    };
    for job in [&running, &queued] {
        foreign(job).await;
    }
    assert_eq!((one.state(&running).await, one.state(&queued).await), ("running".to_owned(), "queued".to_owned()));
    assert_eq!(daemon.stats().polls, 2);
    assert_eq!(one.ask("DELETE", &format!("/jobs/{queued}"), &[], "").await.status, 202);
    gate.open(1);
    assert_eq!(one.ended(&running).await["state"], "done");
    // Nor does the end of a job make it known.
    for job in [&running, &queued] {
        foreign(job).await;
        one.ask("DELETE", &format!("/jobs/{job}"), &[], "").await.refused(409);
    }
    assert_eq!(daemon.stats().cancelled, 1);
}

#[tokio::test]
async fn a_key_is_its_tokens() {
    let daemon = two().start().await.unwrap();
    let (one, two) = (By(&daemon, Some("one")), By(&daemon, Some("two")));
    let job = accepted(&one.ask("POST", "/jobs", &[KEY], BODY).await);
    let other = BODY.replace("hello", "bye");
    let others = accepted(&two.ask("POST", "/jobs", &[KEY], &other).await);
    assert_ne!(job, others);
    assert_eq!(accepted(&one.ask("POST", "/jobs", &[KEY], BODY).await), job);
    assert_eq!(accepted(&two.ask("POST", "/jobs", &[KEY], &other).await), others);
    one.ask("POST", "/jobs", &[KEY], &other).await.refused(422);
    two.ask("POST", "/jobs", &[KEY], BODY).await.refused(422);
    assert_eq!((daemon.stats().accepted, daemon.stats().replayed), (2, 2));
}

#[tokio::test]
async fn a_list_has_ones_own_jobs_whoever_had_its_cursor() {
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
    // The same cursor in the hands of the other: its own jobs from there on.
    assert_eq!(two.page(&query).await, (twos[2..].to_vec(), None));
    // By state: of the first only one job runs.
    assert_eq!(one.page("?state=running").await, (vec![ones[2].clone()], None));
    assert_eq!(two.page("?state=running").await, (vec![], None));
    let (queued, next) = two.page("?state=queued&limit=2").await;
    assert_eq!(queued, twos[..2]);
    let query = format!("?state=queued&limit=2&cursor={}", next.unwrap());
    assert_eq!(two.page(&query).await, (vec![twos[2].clone()], None));
}

#[tokio::test]
async fn metrics_are_the_daemons_whoever_asks() {
    let daemon = two().start().await.unwrap();
    By(&daemon, Some("one")).submit().await;
    By(&daemon, Some("two")).submit().await;
    let metrics = By(&daemon, Some("two")).get("/metrics").await;
    assert!(metrics.body.contains("foreman_accepted_total 2\n"), "{metrics:?}");
}

#[tokio::test]
async fn without_tokens_every_job_is_everybodys_whatever_they_show() {
    let daemon = Daemon::builder().tokens(Vec::<String>::new()).start().await.unwrap();
    let (shows, does_not) = (By(&daemon, Some("one")), By(&daemon, None));
    let (first, second) = (shows.submit().await, does_not.submit().await);
    assert_eq!(does_not.ended(&first).await["state"], "done");
    assert_eq!(shows.ended(&second).await["state"], "done");
    assert_eq!(shows.page("").await, (vec![second, first], None));
}

/// One that ends at once, with these tokens.
async fn kept(folder: &Path, tokens: &[&str]) -> Daemon {
    let builder = Daemon::builder().tokens(tokens.iter().copied()).store(folder.join("jobs.db"));
    builder.drain(Duration::ZERO).start().await.unwrap()
}

#[tokio::test]
async fn a_job_stays_with_the_token_that_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = kept(folder.path(), &["old"]).await;
    let old = By(&daemon, Some("old"));
    let job = accepted(&old.ask("POST", "/jobs", &[KEY], BODY).await);
    let before = old.ended(&job).await;
    daemon.shutdown().await;

    // Both, while the token is changed.
    let daemon = kept(folder.path(), &["new", "old"]).await;
    let (old, new) = (By(&daemon, Some("old")), By(&daemon, Some("new")));
    assert_eq!(old.ended(&job).await, before);
    assert_eq!((old.page("").await.0, new.page("").await.0), (vec![job.clone()], vec![]));
    new.get(&format!("/jobs/{job}")).await.refused(404);
    let news = accepted(&new.ask("POST", "/jobs", &[KEY], BODY).await);
    assert_ne!(news, job);
    assert_eq!(accepted(&old.ask("POST", "/jobs", &[KEY], BODY).await), job);
    new.ended(&news).await;
    daemon.shutdown().await;

    // None: only what was made without.
    let daemon = kept(folder.path(), &[]).await;
    let anybody = By(&daemon, None);
    assert_eq!(anybody.page("").await.0, Vec::<String>::new());
    anybody.get(&format!("/jobs/{job}")).await.refused(404);
    By(&daemon, Some("old")).get(&format!("/jobs/{job}")).await.refused(404);
    let open = anybody.submit().await;
    anybody.ended(&open).await;
    daemon.shutdown().await;

    let daemon = kept(folder.path(), &["old", "new"]).await;
    assert_eq!(By(&daemon, Some("old")).page("").await.0, [job]);
    assert_eq!(By(&daemon, Some("new")).page("").await.0, [news]);
    By(&daemon, Some("new")).get(&format!("/jobs/{open}")).await.refused(404);
}

#[tokio::test]
async fn a_job_is_run_though_its_token_is_gone() {
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
