use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use foreman_client::{BoxError, Message};
use foreman_daemon::{Backend, Chat, ChatResponse};
use http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use tower::service_fn;

use crate::support::{
    Gate, TestDaemon, chat_answer, foreman, losing_submissions, run, run_with_stdin, serve, with_closed_stderr,
};

/// A backend that responds with the messages, the options and the further fields of the request, as JSON.
fn request_backend() -> Backend {
    Backend::new(service_fn(async |chat: Chat| {
        let messages = chat.messages().iter().map(Message::as_json);
        let fields = chat.options().into_iter().chain(chat.spec().fields().map(|(_, value)| value));
        let parts: Vec<_> = messages.chain(fields.map(RawValue::get)).collect();
        chat_answer(&chat, &parts.join(" "))
    }))
}

#[tokio::test]
async fn prompt_is_argument_or_stdin() {
    let daemon = TestDaemon::new(|builder| builder.backend(request_backend())).await;
    let outcome = daemon.run(&["submit", "--model", "m", "--system", "Be brief.", "hi"]).await;
    let sent = r#"{"role":"system","content":"Be brief."} {"role":"user","content":"hi"}"#;
    assert_eq!((outcome.code, outcome.stdout), (Some(0), format!("{sent}\n")));

    let options = r#"{ "num_predict" : 1e1 }"#;
    let outcome = daemon.run(&["submit", "--model", "m", "--options", options, "hi"]).await;
    assert_eq!(outcome.stdout, format!("{{\"role\":\"user\",\"content\":\"hi\"}} {options}\n"));

    let outcome = run_with_stdin(daemon.foreman(&["submit", "--model", "m", "-"]), "from\na pipe").await;
    assert_eq!(outcome.stdout, "{\"role\":\"user\",\"content\":\"from\\na pipe\"}\n");
    let outcome = run_with_stdin(daemon.foreman(&["submit", "--model", "m", "-"]), b"\xff").await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(2), "foreman: stdin is not valid UTF-8\n"));
}

/// A daemon that rejects so many submissions for a time, and accepts the others.
async fn busy(rejections: usize, seconds: &'static str) -> String {
    let left = Arc::new(AtomicUsize::new(rejections));
    let submit = move || {
        let is_rejected = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        async move {
            match is_rejected {
                true => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds)], r#"{"error":"store failure"}"#),
                false => (StatusCode::ACCEPTED, [("location", "/jobs/7")], r#"{"job_id":"7"}"#),
            }
        }
    };
    format!("http://{}", serve(axum::Router::new().route("/jobs", axum::routing::post(submit))).await)
}

/// One rejection more than there are tries without a deadline.
#[tokio::test]
async fn submission_is_tried_until_the_deadline() {
    let submit = |url: &str, deadline: &[&str]| {
        run(foreman(&[&["submit", "--url", url, "--detach", "--model", "m", "hi"], deadline].concat()))
    };
    let accepted = submit(&busy(5, "0").await, &["--deadline", "1h"]).await;
    assert_eq!((accepted.code, accepted.stdout.as_str()), (Some(0), "7\n"), "{accepted:?}");
    assert_eq!(accepted.stderr.matches("daemon returned 503: store failure; trying again").count(), 1, "{accepted:?}");
    let url = busy(usize::MAX, "30").await;
    let rejected = submit(&url, &["--deadline", "3s"]).await;
    let line = format!("foreman: POST {url}/jobs: daemon returned 503: store failure; ");
    let expected = format!(
        "{line}trying again (the daemon asks for a pause of 30 s)\n\
         {line}not accepted within the deadline of 3 s; the daemon asks to retry after 30 s\n"
    );
    assert_eq!((rejected.code, rejected.stderr), (Some(3), expected));
}

/// The job of the first run may be queued there, so that only its key can find it.
#[tokio::test]
async fn submission_with_lost_response_prints_its_key_which_returns_the_same_job() {
    let lossy = losing_submissions().await;
    for mode in ["--polling", "--detach"] {
        let lost = run(foreman(&["submit", mode, "--url", &lossy, "--model", "m", "hi"])).await;
        assert_eq!((lost.code, lost.stdout.as_str()), (Some(3), ""), "{lost:?}");
        let (_, repetition) = lost.stderr.split_once("; repeat the command with ").unwrap();
        let (option, _) = repetition.split_once(',').unwrap();
        let (option, key) = option.split_once(' ').unwrap();
        let daemon = TestDaemon::new(|builder| builder).await;
        let first = daemon.run(&["submit", "--detach", option, key, "--model", "echo", "hi"]).await;
        let again = daemon.run(&["submit", option, key, "--model", "echo", "hi"]).await;
        assert_eq!((again.code, format!("{}\n", again.job_id())), (Some(0), first.stdout), "{again:?}");
        assert_eq!(daemon.handle.stats().executions, 1);
    }
}

#[tokio::test]
async fn empty_input_exits_with_2() {
    let daemon = TestDaemon::new(|builder| builder).await;
    for (args, stdin, message) in [
        (&["submit", "--model", "m", "-"][..], "", "stdin is empty"),
        (&["submit", "--model", "m", "-"], " \n", "stdin is empty"),
        (&["submit", "--model", "m", ""], "", "the prompt is empty"),
        (&["submit", "--model", "m", "\t"], "", "the prompt is empty"),
        (&["submit", "--request", "-"], "", "invalid request"),
        (&["embed", "--model", "m", "-"], "", "stdin is empty"),
    ] {
        let outcome = run_with_stdin(daemon.foreman(args), stdin).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{args:?} {outcome:?}");
        assert!(outcome.stderr.contains(message), "{args:?} {outcome:?}");
    }
    assert_eq!(daemon.handle.stats().accepted, 0);
}

#[tokio::test]
async fn request_file_is_sent_byte_for_byte() {
    let daemon = TestDaemon::new(|builder| builder.backend(request_backend())).await;
    let request = r#"{"model": "m", "messages": [{ "role":"user",  "content" : "hi" }]}"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, request).unwrap();
    let path = file.path().to_str().unwrap();
    let sent = "{ \"role\":\"user\",  \"content\" : \"hi\" }\n";
    assert_eq!(daemon.run(&["submit", "--request", path]).await.stdout, sent);
    assert_eq!(run_with_stdin(daemon.foreman(&["submit", "--request", "-"]), request).await.stdout, sent);

    let with_byte_order_mark = format!("\u{feff}{request}");
    assert_eq!(run_with_stdin(daemon.foreman(&["submit", "--request", "-"]), with_byte_order_mark).await.stdout, sent);

    std::fs::write(&file, r#"{"model": "m", "event_stream": "a"}"#).unwrap();
    let outcome = daemon.run(&["submit", "--request", path]).await;
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("must not have the field `event_stream`"), "{outcome:?}");
    assert_eq!(daemon.run(&["submit", "--request", "/nowhere"]).await.code, Some(74));
    assert_eq!(daemon.handle.stats().executions, 3);
}

#[tokio::test]
async fn format_and_keep_alive_are_sent() {
    let daemon = TestDaemon::new(|builder| builder.backend(request_backend())).await;
    let prompt = r#"{"role":"user","content":"hi"}"#;
    let outcome = daemon.run(&["submit", "--model", "m", "--format", "json", "--keep-alive", "-1", "hi"]).await;
    assert_eq!(outcome.stdout, format!("{prompt} \"json\" -1\n"), "{outcome:?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{ \"type\" : \"object\" }\n").unwrap();
    let path = file.path().to_str().unwrap();
    let outcome = daemon.run(&["submit", "--model", "m", "--format", path, "--keep-alive", "5m", "hi"]).await;
    assert_eq!(outcome.stdout, format!("{prompt} {{ \"type\" : \"object\" }} \"5m\"\n"), "{outcome:?}");

    std::fs::write(&file, "[]").unwrap();
    let outcome = daemon.run(&["submit", "--model", "m", "--format", path, "hi"]).await;
    assert_eq!((outcome.code, outcome.stderr), (Some(2), format!("foreman: {path}: must be a JSON object\n")));
}

#[tokio::test]
async fn ttl_and_priority_are_sent() {
    let never = service_fn(|_: Chat| std::future::pending::<Result<ChatResponse, BoxError>>());
    let daemon = TestDaemon::new(|builder| builder.backend(Backend::new(never)).drain(Duration::ZERO)).await;
    // The only worker has the first job.
    for priority in ["0", "-7", "7"] {
        daemon.run(&["submit", "--model", "m", "--detach", "--priority", priority, "hi"]).await;
    }
    let outcome = daemon.run(&["submit", "--model", "m", "--ttl", "10ms", "hi"]).await;
    assert!(outcome.code == Some(1) && outcome.stderr.contains(": deadline"), "{outcome:?}");
    let queued = daemon.run(&["jobs", "--state", "queued", "--json"]).await.stdout;
    let position = |line| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64();
    // Newest first.
    assert_eq!(queued.lines().map(position).collect::<Vec<_>>(), [Some(1), Some(2)], "{queued}");
    let outcome = daemon.run(&["submit", "--model", "m", "--priority", "101", "hi"]).await;
    assert!(outcome.code == Some(2) && outcome.stderr.contains("101 is not in -100..=100"), "{outcome:?}");
}

#[tokio::test]
async fn json_is_whole_result_in_one_line() {
    let daemon = TestDaemon::new(|builder| builder).await;
    let outcome = daemon.run(&["submit", "--polling", "--model", "m", "--json", "hi"]).await;
    assert_eq!(outcome.code, Some(0));
    let line = outcome.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    let result: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&result["state"], &result["job_id"]), (&Value::from("done"), &Value::from(outcome.job_id())));
    assert_eq!(result["result"]["message"]["content"], "echo (this is no model): hi");
}

#[tokio::test]
async fn job_id_is_printed_with_command_to_resume() {
    let daemon = TestDaemon::new(|builder| builder).await;
    let url = daemon.handle.url();
    // With FOREMAN_URL too, which may be set for one command.
    for command in
        [daemon.foreman(&["submit", "--model", "m", "hi"]), foreman(&["submit", "--url", &url, "--model", "m", "hi"])]
    {
        let outcome = run(command).await;
        let job_id = outcome.job_id();
        assert_eq!(outcome.stderr, format!("foreman: job {job_id}; resume with: foreman wait --url {url} {job_id}\n"));
    }
}

#[tokio::test]
async fn detached_submission_prints_job_id_alone() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let outcome = daemon.run(&["submit", "--detach", "--model", "m", "hi"]).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
    let job_id = outcome.stdout.strip_suffix('\n').unwrap();
    gate.open();
    let waited = daemon.run(&["wait", job_id]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "the gate is open\n"), "{waited:?}");
    assert_eq!(daemon.handle.stats().cancelled, 0);

    for args in [&["--embedded"][..], &[], &["--json"]] {
        let outcome = run(foreman(&[&["submit", "--detach", "--model", "m", "hi"], args].concat())).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
    }
    let args = ["submit", "--detach", "--url", "http://127.0.0.1:1", "--model", "m", "hi"];
    assert_eq!(run(foreman(&args)).await.code, Some(3));
}

#[tokio::test]
async fn closed_stderr_does_not_change_result() {
    let daemon = TestDaemon::new(|builder| builder).await;
    let outcome = run(with_closed_stderr(daemon.foreman(&["submit", "--model", "m", "hi"]))).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "echo (this is no model): hi\n"));
    assert_eq!(run(with_closed_stderr(daemon.foreman(&["wait", "7"]))).await.code, Some(5));
    let outcome = run(with_closed_stderr(foreman(&["submit", "--embedded", "--model", "m", "hi"]))).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "echo (this is no model): hi\n"));
}

#[tokio::test]
async fn response_without_text_is_printed_as_json() {
    let backend = service_fn(async |_: Chat| {
        ChatResponse::from_value(&serde_json::json!({ "message": { "content": "", "tool_calls": [1] } }))
    });
    let daemon = TestDaemon::new(|builder| builder.backend(Backend::new(backend))).await;
    let outcome = daemon.run(&["submit", "--model", "m", "hi"]).await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "{\"message\":{\"content\":\"\",\"tool_calls\":[1]}}\n")
    );
}

#[tokio::test]
async fn failed_job_exits_with_1_and_prints_error() {
    let failing = service_fn(async |_: Chat| Err::<ChatResponse, BoxError>("no\u{1b}[2J memory".into()));
    let daemon = TestDaemon::new(|builder| builder.backend(Backend::new(failing))).await;
    let outcome = daemon.run(&["submit", "--model", "m", "hi"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(outcome.stderr.contains(r"foreman: job failed: no\u{1b}[2J memory"), "{outcome:?}");

    let outcome = daemon.run(&["submit", "--model", "m", "--json", "hi"]).await;
    assert_eq!(outcome.code, Some(1));
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap()["state"], "failed");
}

#[tokio::test]
async fn unreachable_daemon_exits_with_3() {
    let outcome = run(foreman(&["submit", "--url", "http://127.0.0.1:1", "--model", "m", "hi"])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
    assert!(outcome.stderr.starts_with("foreman: "), "{outcome:?}");
}

#[tokio::test]
async fn invalid_usage_exits_with_2() {
    for args in [
        &[][..],
        &["submit"],
        &["submit", "--model", "m"],
        &["submit", "hi"],
        &["submit", "--model", "", "hi"],
        &["submit", "--model", "m", "--options", "[]", "hi"],
        &["submit", "--model", "m", "--options", "{", "hi"],
        &["submit", "--model", "m", "--deadline", "soon", "hi"],
        &["submit", "--model", "m", "--keep-alive", "soon", "hi"],
        &["submit", "--url", "nowhere", "--model", "m", "hi"],
        &["submit", "--request", "-", "--model", "m"],
        &["wait", ""],
        &["reap"],
    ] {
        let outcome = run(foreman(args)).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{args:?} {outcome:?}");
        assert!(!outcome.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn completions_and_manual_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = run(foreman(&["completions", shell])).await;
        assert_eq!(outcome.code, Some(0));
        assert!(outcome.stdout.contains("foreman") && outcome.stdout.contains("artifacts"), "{shell}");
    }
    let outcome = run(foreman(&["man"])).await;
    assert!(outcome.code == Some(0) && outcome.stdout.contains(".TH foreman 1"), "{outcome:?}");
    let outcome = run(foreman(&["man", "submit"])).await;
    assert!(outcome.code == Some(0) && outcome.stdout.contains(".TH foreman-submit 1"), "{outcome:?}");
    assert_eq!(run(foreman(&["man", "reap"])).await.code, Some(2));
}
