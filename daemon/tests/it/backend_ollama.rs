use std::time::Duration;

use foreman_daemon::{BoxError, EmbedRequest};
use foreman_daemon::{Daemon, ListModels, Ollama};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::model_server::{ModelServer, STALL, Script, chat, nobody, told};
use super::raw::{delete, ended, get, post, submit};

const FIRST: &str = r#"{"model":"m","created_at":"1","message":{"role":"assistant","content":"aä"},"done":false}"#;
const LAST: &str = r#"{"model":"m","created_at":"2","message":{"role":"assistant","content":"b"},"done":true,"done_reason":"stop","eval_count":2}"#;

async fn answered(ollama: Ollama) -> Result<Value, BoxError> {
    let answer = ollama.oneshot(chat(r#"{"model":"m","messages":[]}"#)).await?;
    Ok(serde_json::from_str(answer.result.get())?)
}

async fn failed(script: Script) -> (bool, String) {
    let server = ModelServer::start([script]).await;
    told(&answered(Ollama::new(&server.url).unwrap()).await.unwrap_err())
}

#[tokio::test]
async fn a_chat_goes_out_byte_for_byte_and_its_chunks_become_the_result() {
    let mut server = ModelServer::start([Script::stream(&[format!("{FIRST}\n"), format!("{LAST}\n")])]).await;
    let given = r#"{"model":"m","messages":[{"role":"user","content":"\u00e4","x":1.0}],"tools":[ 1 ],"options":{"t":1e0},"think":"high"}"#;
    let answer = Ollama::new(&server.url).unwrap().oneshot(chat(given)).await.unwrap();
    let result: Value = serde_json::from_str(answer.result.get()).unwrap();
    let message = json!({ "role": "assistant", "content": "aäb" });
    assert_eq!(
        result,
        json!({ "model": "m", "created_at": "2", "message": message, "done": true, "done_reason": "stop", "eval_count": 2 })
    );
    let asked = server.asked().await;
    assert_eq!((asked.line(), asked.header("content-type")), ("POST /api/chat", Some("application/json")));
    assert_eq!(asked.body, given.replace(r#","tools""#, r#","stream":true,"tools""#));
}

#[tokio::test]
async fn lines_are_put_together_wherever_they_were_cut() {
    let whole = format!("{FIRST}\n\r\n{LAST}");
    let bytes: Vec<_> = whole.as_bytes().chunks(1).collect();
    let server = ModelServer::start([Script::stream(&bytes)]).await;
    assert_eq!(answered(Ollama::new(&server.url).unwrap()).await.unwrap()["message"]["content"], "aäb");
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_is_garbage_may_go_well_another_time() {
    let part = &[format!("{FIRST}\n")];
    for (script, why) in [
        (Script::broken(part), "the exchange with the model server broke off"),
        (Script::stream(part), "the model server's answer cannot be used: it ends before it is done"),
        (Script::stream(&["<html>\n"]), "the model server's answer cannot be used: a line is not a chunk of a chat"),
        (Script::stream(&[b"\xff\n"]), "the model server's answer cannot be used: a line is not a chunk of a chat"),
        (Script::stream(&[&part[0], "{\"error\":\"out of memory\"}\n"]), "the model server failed: out of memory"),
        (Script::answer("503 Service Unavailable", r#"{"error":"busy"}"#), "the model server answered 503: busy"),
        (Script::answer("200 OK", ""), "the model server's answer cannot be used: it ends before it is done"),
    ] {
        let (transient, text) = failed(script).await;
        assert!(transient && text.contains(why), "{why}: {text}");
    }
}

#[tokio::test]
async fn a_stream_that_stalls_may_go_well_another_time() {
    let server = ModelServer::start([Script::stalled(&[format!("{FIRST}\n")])]).await;
    let ollama = Ollama::builder(&server.url).stall(STALL).build().unwrap();
    let (transient, text) = told(&answered(ollama).await.unwrap_err());
    assert!(transient && text.ends_with("nothing came from the model server for 20ms"), "{text}");
}

#[tokio::test]
async fn what_the_server_refuses_is_final_and_says_why() {
    let (transient, text) = failed(Script::answer("404 Not Found", r#"{"error":"model 'x' not found"}"#)).await;
    assert_eq!((transient, text.as_str()), (false, "the model server answered 404: model 'x' not found"));
}

#[tokio::test]
async fn the_first_part_has_a_limit_of_its_own() {
    let server = ModelServer::start([Script::silent(), Script::stalled(&[""; 0])]).await;
    let ollama = Ollama::builder(&server.url).first_stall(STALL).build().unwrap();
    for _ in 0..2 {
        let (transient, text) = told(&answered(ollama.clone()).await.unwrap_err());
        assert!(transient && text.ends_with("nothing came from the model server for 20ms"), "{text}");
    }
}

#[tokio::test]
async fn a_whole_attempt_and_an_answer_have_limits_that_are_final() {
    let server = ModelServer::start([Script::silent(), Script::stream(&[FIRST])]).await;
    let short = Ollama::builder(&server.url).attempt_timeout(STALL).build().unwrap();
    let (transient, text) = told(&answered(short).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "the model server was not done within 20ms"));
    let small = Ollama::builder(&server.url).answer_limit(10).build().unwrap();
    let (transient, text) = told(&answered(small).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "the model server's answer is larger than 10 bytes"));
}

#[tokio::test]
async fn a_server_that_is_not_there_may_come() {
    let (_socket, url) = nobody();
    let (transient, text) = told(&answered(Ollama::new(url).unwrap()).await.unwrap_err());
    assert!(transient && text.contains("cannot connect to the model server"), "{text}");
}

#[tokio::test]
async fn a_daemon_serves_its_models_embeddings_and_chats() {
    let tags = r#"{"models":[{"name":"m:latest","model":"m:latest","modified_at":"2026-01-02T03:04:05.6+02:00","size":7,"digest":"d","details":{"family":"f"}}]}"#;
    let mut server = ModelServer::start([
        Script::answer("200 OK", tags),
        Script::answer("200 OK", r#"{"model":"m","embeddings":[[0.5]],"total_duration":1}"#),
        Script::answer("404 Not Found", r#"{"error":"no such model"}"#),
        Script::stream(&[LAST]),
    ])
    .await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();

    let models = get(&daemon, "/api/tags", &[]).await.json();
    assert_eq!((&models["models"][0]["size"], &models["models"][0]["details"]["family"]), (&json!(7), &json!("f")));
    let request = r#"{"model":"m","input":["a"],"keep_alive":"5m","options":{"x":1.0}}"#;
    let vectors = post(&daemon, "/api/embed", &[], request).await.json();
    assert_eq!(vectors, json!({ "model": "m", "embeddings": [[0.5]] }));
    let refused = post(&daemon, "/api/embed", &[], request).await.refused(502);
    assert_eq!(refused, "the model server answered 404: no such model");
    let job = ended(&daemon, &submit(&daemon, "hi").await).await;
    assert_eq!(job["result"]["message"]["content"], "b", "{job}");

    assert_eq!(server.asked().await.line(), "GET /api/tags");
    let asked = server.asked().await;
    assert_eq!((asked.line(), asked.body.as_str()), ("POST /api/embed", request));
}

#[tokio::test]
async fn a_cancelled_job_leaves_the_model_server() {
    let mut server = ModelServer::start([Script::stalled(&[format!("{FIRST}\n")])]).await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();
    let job = submit(&daemon, "hi").await;
    server.asked().await;
    assert_eq!(delete(&daemon, &format!("/jobs/{job}")).await.status, 202);
    server.left().await;
}

#[tokio::test]
async fn models_and_embeddings_fail_as_chats_do() {
    let scripts = [Script::answer("200 OK", "<html>"), Script::silent()];
    let server = ModelServer::start(scripts).await;
    let ollama = Ollama::builder(&server.url).first_stall(STALL).build().unwrap();
    let (transient, text) = told(&ollama.clone().oneshot(ListModels::default()).await.unwrap_err());
    assert!(transient && text.contains("it is not the JSON expected"), "{text}");
    let (transient, text) = told(&ollama.oneshot(EmbedRequest::new("m", "a").unwrap()).await.unwrap_err());
    assert!(transient && text.contains("nothing came"), "{text}");
}

#[test]
fn limits_and_urls_are_checked() {
    let refused = Ollama::builder("http://h").stall(Duration::ZERO).build().unwrap_err();
    assert_eq!(refused.to_string(), "invalid stall: must not be zero");
    assert!(Ollama::new("ftp://h").unwrap_err().to_string().starts_with("invalid url: "));
}
