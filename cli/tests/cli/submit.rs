use foreman_client::{BoxError, Message};
use foreman_daemon::{Backend, Chat, ChatResponse};
use serde_json::Value;
use serde_json::value::RawValue;
use tower::service_fn;

use crate::support::{Bench, foreman, run, run_with_stdin, said, unheard};

/// Says its whole conversation as JSON, and the options.
fn parrot() -> Backend {
    Backend::new(service_fn(async |chat: Chat| {
        let messages = chat.messages().iter().map(Message::as_json);
        let heard: Vec<_> = messages.chain(chat.options().map(RawValue::get)).collect();
        said(&chat, &heard.join(" "))
    }))
}

#[tokio::test]
async fn the_prompt_is_an_argument_or_stdin() {
    let bench = Bench::new(|builder| builder.backend(parrot())).await;
    let ended = bench.run(&["submit", "--model", "m", "--system", "Be brief.", "hi"]).await;
    let sent = r#"{"role":"system","content":"Be brief."} {"role":"user","content":"hi"}"#;
    assert_eq!((ended.code, ended.stdout), (Some(0), format!("{sent}\n")));

    let options = r#"{ "num_predict" : 1e1 }"#;
    let ended = bench.run(&["submit", "--model", "m", "--options", options, "hi"]).await;
    assert_eq!(ended.stdout, format!("{{\"role\":\"user\",\"content\":\"hi\"}} {options}\n"));

    let ended = run_with_stdin(bench.foreman(&["submit", "--model", "m", "-"]), "from\na pipe").await;
    assert_eq!(ended.stdout, "{\"role\":\"user\",\"content\":\"from\\na pipe\"}\n");
    let ended = run_with_stdin(bench.foreman(&["submit", "--model", "m", "-"]), b"\xff").await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), "foreman: stdin is not UTF-8\n"));
}

#[tokio::test]
async fn a_whole_request_is_a_file_or_stdin_and_goes_byte_for_byte() {
    let bench = Bench::new(|builder| builder.backend(parrot())).await;
    let request = r#"{"model": "m", "messages": [{ "role":"user",  "content" : "hi" }]}"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, request).unwrap();
    let path = file.path().to_str().unwrap();
    let sent = "{ \"role\":\"user\",  \"content\" : \"hi\" }\n";
    assert_eq!(bench.run(&["submit", "--request", path]).await.stdout, sent);
    assert_eq!(run_with_stdin(bench.foreman(&["submit", "--request", "-"]), request).await.stdout, sent);

    let marked = format!("\u{feff}{request}");
    assert_eq!(run_with_stdin(bench.foreman(&["submit", "--request", "-"]), marked).await.stdout, sent);

    std::fs::write(&file, r#"{"model": "m", "format": "json"}"#).unwrap();
    let ended = bench.run(&["submit", "--request", path]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("unknown field `format`"), "{ended:?}");
    assert_eq!(bench.run(&["submit", "--request", "/nowhere"]).await.code, Some(2));
    assert_eq!(bench.daemon.stats().executions, 3);
}

#[tokio::test]
async fn json_is_the_whole_result_in_one_line() {
    let bench = Bench::new(|builder| builder).await;
    let ended = bench.run(&["submit", "--polling", "--model", "m", "--json", "hi"]).await;
    assert_eq!(ended.code, Some(0));
    let line = ended.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    let result: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&result["state"], &result["job_id"]), (&Value::from("done"), &Value::from(ended.job_id())));
    assert_eq!(result["result"]["message"]["content"], "echo (this is no model): hi");
}

#[tokio::test]
async fn the_job_is_introduced_with_the_command_that_waits_for_it() {
    let bench = Bench::new(|builder| builder).await;
    let ended = bench.run(&["submit", "--model", "m", "hi"]).await;
    let job_id = ended.job_id();
    assert_eq!(ended.stderr, format!("foreman: job {job_id}; to wait for it again: foreman wait {job_id}\n"));

    // Where the environment does not name the daemon, the command does.
    let url = bench.daemon.url();
    let ended = run(foreman(&["submit", "--url", &url, "--model", "m", "hi"])).await;
    assert!(ended.stderr.ends_with(&format!(": foreman wait --url {url} {}\n", ended.job_id())), "{ended:?}");
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_changes_nothing() {
    let bench = Bench::new(|builder| builder).await;
    let ended = run(unheard(bench.foreman(&["submit", "--model", "m", "hi"]))).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "echo (this is no model): hi\n"));
    assert_eq!(run(unheard(bench.foreman(&["wait", "7"]))).await.code, Some(3));
    let ended = run(unheard(foreman(&["submit", "--model", "m", "hi"]))).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "echo (this is no model): hi\n"));
}

#[tokio::test]
async fn an_answer_without_a_text_is_printed_as_json() {
    let call = service_fn(async |_: Chat| {
        ChatResponse::from_value(&serde_json::json!({ "message": { "content": "", "tool_calls": [1] } }))
    });
    let bench = Bench::new(|builder| builder.backend(Backend::new(call))).await;
    let ended = bench.run(&["submit", "--model", "m", "hi"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "{\"message\":{\"content\":\"\",\"tool_calls\":[1]}}\n"));
}

#[tokio::test]
async fn a_job_that_failed_is_status_1_with_the_reason() {
    let broken = service_fn(async |_: Chat| Err::<ChatResponse, BoxError>("no\u{1b}[2J memory".into()));
    let bench = Bench::new(|builder| builder.backend(Backend::new(broken))).await;
    let ended = bench.run(&["submit", "--model", "m", "hi"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains(r"foreman: job failed: no\u{1b}[2J memory"), "{ended:?}");

    let ended = bench.run(&["submit", "--model", "m", "--json", "hi"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap()["state"], "failed");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_status_3() {
    let ended = run(foreman(&["submit", "--url", "http://127.0.0.1:1", "--model", "m", "hi"])).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    assert!(ended.stderr.starts_with("foreman: "), "{ended:?}");
}

#[tokio::test]
async fn wrong_use_is_status_2() {
    for args in [
        &[][..],
        &["submit"],
        &["submit", "--model", "m"],
        &["submit", "hi"],
        &["submit", "--model", "", "hi"],
        &["submit", "--model", "m", "--options", "[]", "hi"],
        &["submit", "--model", "m", "--options", "{", "hi"],
        &["submit", "--model", "m", "--deadline", "soon", "hi"],
        &["submit", "--url", "nowhere", "--model", "m", "hi"],
        &["submit", "--request", "-", "--model", "m"],
        &["wait", ""],
        &["reap"],
    ] {
        let ended = run(foreman(args)).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?} {ended:?}");
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn completions_and_the_manual_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(foreman(&["completions", shell])).await;
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains("foreman") && ended.stdout.contains("artifacts"), "{shell}");
    }
    let ended = run(foreman(&["man"])).await;
    assert!(ended.code == Some(0) && ended.stdout.contains(".TH foreman 1"), "{ended:?}");
    let ended = run(foreman(&["man", "submit"])).await;
    assert!(ended.code == Some(0) && ended.stdout.contains(".TH foreman-submit 1"), "{ended:?}");
    assert_eq!(run(foreman(&["man", "reap"])).await.code, Some(2));
}
