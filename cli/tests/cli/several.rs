//! Several daemons, by repeated `--url` or a list in `FOREMAN_URL`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use foreman_client::{BoxError, ModelInfo};
use foreman_daemon::{Backend, Chat, ListModels};
use serde_json::Value;
use tower::service_fn;

use crate::support::{Gate, Outcome, TestDaemon, chat_answer, foreman, losing_submissions, run, serve};

/// Nothing listens there.
const AWAY: &str = "http://127.0.0.1:1";

/// A daemon whose jobs return its name.
async fn named(name: &'static str) -> TestDaemon {
    let backend = Backend::new(service_fn(move |chat: Chat| std::future::ready(chat_answer(&chat, name))));
    TestDaemon::new(|builder| builder.backend(backend)).await
}

/// The command with these daemons.
async fn at(urls: &[&str], args: &[&str]) -> Outcome {
    let (command, rest) = args.split_first().unwrap();
    let urls = urls.iter().flat_map(|url| ["--url", url]);
    run(foreman(&[&[*command][..], &urls.collect::<Vec<_>>(), rest].concat())).await
}

/// A daemon that only lists models: this one.
async fn with_model(model: &'static str) -> String {
    let tags = move || async move { format!(r#"{{"models":[{{"name":"{model}"}}]}}"#) };
    format!("http://{}", serve(axum::Router::new().route("/api/tags", get(tags))).await)
}

#[tokio::test]
async fn job_is_submitted_once_and_named_by_its_url() {
    let (a, b) = (named("a").await, named("b").await);
    let (url_a, url_b) = (a.handle.url(), b.handle.url());
    let outcome = at(&[&url_a, &url_b], &["submit", "--model", "m", "hi"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(a.handle.stats().accepted + b.handle.stats().accepted, 1);
    let of = if outcome.stdout == "a\n" { &url_a } else { &url_b };
    let job = outcome.job_id();
    assert!(job.starts_with(&format!("{of}/jobs/")), "{outcome:?}");
    assert_eq!(outcome.stderr, format!("foreman: job {job}; resume with: foreman wait --url {of} {job}\n"));
    let again = at(&[of], &["wait", job]).await;
    assert_eq!((again.code, &again.stdout), (Some(0), &outcome.stdout), "{again:?}");
}

#[tokio::test]
async fn addresses_of_one_queue_are_one_daemon() {
    let a = named("a").await;
    let url = a.handle.url();
    let addresses = format!("{AWAY}|{url}");
    let outcome = at(&[&addresses], &["submit", "--model", "m", "hi"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "a\n"), "{outcome:?}");
    let job = outcome.job_id();
    assert!(!job.contains('/'), "a job of one daemon is named by its id: {outcome:?}");
    // The URL of the job at either address.
    for address in [AWAY, &url] {
        let waited = at(&[&addresses], &["wait", &format!("{address}/jobs/{job}")]).await;
        assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "a\n"), "{waited:?}");
    }
    let refused = at(&[&addresses], &["wait", &format!("http://127.0.0.1:2/jobs/{job}")]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let jobs = at(&[&addresses], &["jobs", "--json"]).await;
    assert_eq!((jobs.code, jobs.stdout.lines().count()), (Some(0), 1), "{jobs:?}");
    let b = named("b").await;
    let both = at(&[&addresses, &b.handle.url()], &["status", &format!("{url}/jobs/{job}")]).await;
    assert!(both.stdout.starts_with(&format!("job        {job}\ndaemon     {url}\n")), "{both:?}");
}

#[tokio::test]
async fn daemons_that_share_a_queue_are_reported_once() {
    let a = named("a").await;
    let url = a.handle.url();
    let other = url.replace("127.0.0.1", "localhost");
    let job = a.submit("m").await;
    let expected = format!("foreman: {url} and {other} share a queue; name them by one --url '{url}|{other}'\n");
    for args in [&["jobs"][..], &["models"], &["submit", "--model", "m", "hi"], &["status", job.as_str()]] {
        let outcome = at(&[&url, &other], args).await;
        assert_eq!(outcome.stderr.matches(&expected).count(), 1, "{args:?} {outcome:?}");
    }
}

#[tokio::test]
async fn submission_with_lost_response_is_sent_to_another_address() {
    let a = named("a").await;
    let addresses = format!("{}|{}", losing_submissions().await, a.handle.url());
    for mode in ["--polling", "--detach"] {
        let outcome = at(&[&addresses], &["submit", mode, "--model", "m", "hi"]).await;
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
    assert_eq!(a.handle.stats().accepted, 2);
}

#[tokio::test]
async fn variable_has_a_list_and_detached_job_is_found_by_url_and_id() {
    let (a, b) = (named("a").await, named("b").await);
    let (url_a, url_b) = (a.handle.url(), b.handle.url());
    for list in [format!("{url_a},{url_b}"), format!(" {url_a} {url_b}\n"), format!("{url_a}, {url_b},")] {
        let with_list = |args: &[&str]| {
            let mut command = foreman(args);
            command.env("FOREMAN_URL", &list);
            run(command)
        };
        let outcome = with_list(&["submit", "--detach", "--model", "m", "hi"]).await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
        let job = outcome.stdout.trim_end();
        let (daemon, id) = job.rsplit_once("/jobs/").unwrap();
        let of = if daemon == url_a { "a\n" } else { "b\n" };
        for name in [job, id] {
            let waited = with_list(&["wait", name]).await;
            assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), of), "{waited:?}");
            let status = with_list(&["status", name]).await;
            let expected = format!("job        {id}\ndaemon     {daemon}\nstate      done\n");
            assert!(status.code == Some(0) && status.stdout.starts_with(&expected), "{status:?}");
        }
        let status: Value = serde_json::from_str(&with_list(&["status", "--json", id]).await.stdout).unwrap();
        assert_eq!((&status["daemon"], &status["job_id"]), (&Value::from(daemon), &Value::from(id)));
    }
}

#[tokio::test]
async fn job_goes_to_a_daemon_with_the_model() {
    let backend = |name: &'static str| {
        let models = service_fn(move |_: ListModels| std::future::ready(Ok::<_, BoxError>(vec![ModelInfo::new(name)])));
        Backend::new(service_fn(move |chat: Chat| std::future::ready(chat_answer(&chat, name)))).models(models)
    };
    let a = TestDaemon::new(|builder| builder.backend(backend("a"))).await;
    let b = TestDaemon::new(|builder| builder.backend(backend("b"))).await;
    for model in ["a", "b", "a", "b", "a", "b"] {
        let outcome = at(&[&a.handle.url(), &b.handle.url()], &["submit", "--model", model, "hi"]).await;
        assert_eq!((outcome.code, outcome.stdout), (Some(0), format!("{model}\n")), "{}", outcome.stderr);
    }
}

/// The time in which the daemons are asked for their models counts.
#[tokio::test]
async fn deadline_of_a_submission_exits_with_4() {
    let gate = Gate::closed();
    let a = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let b = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let silent = axum::Router::new().route("/api/tags", get(std::future::pending::<&str>));
    let silent = format!("http://{}", serve(silent).await);
    for urls in [[&*a.handle.url(), &*b.handle.url()], [&*a.handle.url(), &silent]] {
        let outcome = at(&urls, &["submit", "--deadline", "10ms", "--model", "m", "hi"]).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:?}");
    }
}

#[tokio::test]
async fn daemon_that_is_away_is_reported_and_gets_no_job() {
    let echo = TestDaemon::new(|builder| builder).await;
    let urls = [AWAY, &echo.handle.url()];
    let outcome = at(&urls, &["submit", "--model", "echo", "hi"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "echo (this is no model): hi\n"), "{outcome:?}");
    assert!(outcome.stderr.starts_with(&format!("foreman: {AWAY}: ")), "{outcome:?}");
    // The one that is away may have another model.
    let other = at(&urls, &["submit", "--model", "other", "hi"]).await;
    assert_eq!((other.code, other.stdout.as_str()), (Some(3), ""), "{other:?}");
    assert_eq!(echo.handle.stats().accepted, 1);
    let nobody = at(&[AWAY, "http://127.0.0.2:1"], &["submit", "--model", "m", "hi"]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(3), ""), "{nobody:?}");
    assert!(nobody.stderr.ends_with("foreman: 2 of 2 daemons failed\n"), "{nobody:?}");
}

#[tokio::test]
async fn job_is_cancelled_at_its_daemon() {
    let gate = Gate::closed();
    let a = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let b = named("b").await;
    let job_id = a.submit("m").await;
    let outcome = at(&[&b.handle.url(), &a.handle.url()], &["cancel", job_id.as_str()]).await;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("state      failed\n"), "{outcome:?}");
    assert_eq!((a.handle.stats().cancelled, b.handle.stats().cancelled), (1, 0));
}

/// Another daemon may have the job if it does not respond.
#[tokio::test]
async fn unknown_job_exits_with_5_only_if_all_daemons_responded() {
    let (a, b) = (named("a").await, named("b").await);
    let (url_a, url_b) = (a.handle.url(), b.handle.url());
    for command in ["wait", "status", "cancel"] {
        let outcome = at(&[&url_a, &url_b], &[command, "7"]).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""), "{outcome:?}");
        let url = format!("{url_b}/jobs/7");
        assert_eq!(at(&[&url_a, &url_b], &[command, &url]).await.code, Some(5));
    }
    for command in ["status", "cancel"] {
        let outcome = at(&[&url_a, AWAY], &[command, "7"]).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
    }
    // `wait` asks again.
    let outcome = at(&[&url_a, AWAY], &["wait", "--deadline", "100ms", "7"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:?}");
    // A job that a daemon knows is found although another one is away.
    let job_id = a.submit("m").await;
    assert_eq!(at(&[AWAY, &url_a], &["wait", job_id.as_str()]).await.stdout, "a\n");
}

#[tokio::test]
async fn jobs_of_all_daemons_are_merged() {
    let (a, b) = (named("a").await, named("b").await);
    let (url_a, url_b) = (a.handle.url(), b.handle.url());
    let (first, second, third) = (a.submit("m").await, b.submit("m").await, a.submit("m").await);
    let all = at(&[&url_a, &url_b], &["jobs"]).await;
    let lines: Vec<Vec<_>> = all.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "STATE", "POSITION", "MODEL", "CREATED", "DAEMON", "ERROR"]);
    let rows: Vec<_> = lines[1..].iter().map(|row| (row[0], *row.last().unwrap())).collect();
    let expected = [(third.as_str(), &*url_a), (second.as_str(), &*url_b), (first.as_str(), &*url_a)];
    assert_eq!(rows, expected, "{all:?}");
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));

    let cut = at(&[&url_a, &url_b], &["jobs", "--json", "--limit", "2"]).await;
    let jobs: Vec<Value> = cut.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.iter().map(|job| &job["daemon"]).collect::<Vec<_>>(), [&*url_a, &*url_b]);
    assert_eq!(cut.stderr, "foreman: more jobs exist (limit 2); see --limit\n");
    // With one daemon, there is no such field.
    let one = at(&[&url_b], &["jobs", "--json"]).await.stdout;
    assert!(serde_json::from_str::<Value>(&one).unwrap().get("daemon").is_none());
}

#[tokio::test]
async fn incomplete_lists_are_printed_and_exit_with_3() {
    let a = named("a").await;
    let job_id = a.submit("m").await;
    let models = with_model("m").await;
    for (command, url, expected) in [("jobs", &a.handle.url(), job_id.as_str()), ("models", &models, "m ")] {
        let outcome = at(&[AWAY, url], &[command]).await;
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        assert!(outcome.stdout.lines().count() == 2 && outcome.stdout.contains(expected), "{outcome:?}");
        let warning = format!("foreman: {AWAY}: ");
        assert!(outcome.stderr.starts_with(&warning), "{outcome:?}");
        assert!(outcome.stderr.ends_with("foreman: 1 of 2 daemons failed\n"), "{outcome:?}");
        let nobody = at(&[AWAY, "http://127.0.0.2:1"], &[command]).await;
        assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(3), ""), "{nobody:?}");
    }
}

#[tokio::test]
async fn models_of_all_daemons_are_listed_by_name() {
    let urls = [with_model("b").await, with_model("a").await];
    let outcome = at(&[&urls[0], &urls[1]], &["models"]).await;
    let lines: Vec<Vec<_>> = outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["NAME", "BYTES", "MODIFIED", "DAEMON"], vec!["a", &urls[1]], vec!["b", &urls[0]]]);
    let json = at(&[&urls[0], &urls[1]], &["models", "--json"]).await.stdout;
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["daemon"]), (&Value::from("a"), &Value::from(&*urls[1])));
}

#[tokio::test]
async fn texts_are_embedded_by_a_daemon_that_responds() {
    let daemon = TestDaemon::new(|builder| builder).await;
    let alone = daemon.run(&["embed", "--model", "m", "hi"]).await;
    let outcome = at(&[AWAY, &daemon.handle.url()], &["embed", "--model", "m", "hi"]).await;
    assert_eq!((outcome.code, outcome.stdout), (Some(0), alone.stdout));
    assert!(outcome.stderr.starts_with(&format!("foreman: {AWAY}: ")), "{}", outcome.stderr);
    assert_eq!(at(&[AWAY, "http://127.0.0.2:1"], &["embed", "--model", "m", "hi"]).await.code, Some(3));
}

#[tokio::test]
async fn token_is_sent_to_the_given_urls_only() {
    const TOKEN: &str = "token-of-the-test-8";
    let requests = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&requests);
    let foreign = axum::Router::new().fallback(move |headers: HeaderMap| async move {
        counted.fetch_add(1, Relaxed);
        assert!(!headers.contains_key("authorization"));
        StatusCode::NOT_FOUND
    });
    let foreign = format!("http://{}", serve(foreign).await);
    let (a, b) = (named("a").await, named("b").await);
    let (url_a, url_b) = (a.handle.url(), b.handle.url());
    let job = format!("{foreign}/jobs/7");
    for urls in [&[&*url_a][..], &[&*url_a, &*url_b]] {
        for command in ["wait", "status", "cancel"] {
            let outcome = at(urls, &[command, "--token", TOKEN, &job]).await;
            assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
            let reason = "is not one of --url; add it, or use the id 7 alone if --url has the queue of that daemon";
            let expected = format!("foreman: {foreign} {reason}\n");
            assert_eq!(outcome.stderr, expected);
        }
    }
    assert_eq!(requests.load(Relaxed), 0);
}

#[tokio::test]
async fn url_of_a_job_is_accepted_at_its_only_daemon() {
    let a = named("a").await;
    let job_id = a.submit("m").await;
    let job = format!("{}/jobs/{job_id}", a.handle.url());
    let waited = a.run(&["wait", &job]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "a\n"), "{waited:?}");
    // Printed as ever.
    let resume = format!("foreman: job {job_id}; resume with: foreman wait --url {} {job_id}\n", a.handle.url());
    assert_eq!(waited.stderr, resume);
    let twice = at(&[&a.handle.url(), &format!("{}/", a.handle.url())], &["jobs"]).await;
    assert_eq!((twice.code, twice.stdout.as_str()), (Some(2), ""), "{twice:?}");
    assert!(twice.stderr.starts_with("foreman: invalid --url: has the daemon http://"), "{twice:?}");
}
