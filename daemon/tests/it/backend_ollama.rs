use std::time::Duration;

use foreman_daemon::{BoxError, EmbedRequest};
use foreman_daemon::{Daemon, ListModels, Ollama};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::model_server::{ModelServer, STALL, Script, chat, error_chain, unused_url};
use super::raw::{accepted, delete, ended, get, post, submit};

const FIRST: &str = r#"{"model":"m","created_at":"1","message":{"role":"assistant","content":"aä"},"done":false}"#;
const LAST: &str = r#"{"model":"m","created_at":"2","message":{"role":"assistant","content":"b"},"done":true,"done_reason":"stop","eval_count":2}"#;

async fn chat_result(ollama: Ollama) -> Result<Value, BoxError> {
    let response = ollama.oneshot(chat(r#"{"model":"m","messages":[]}"#)).await?;
    Ok(serde_json::from_str(response.result.get())?)
}

async fn chat_error(script: Script) -> (bool, String) {
    let server = ModelServer::start([script]).await;
    error_chain(&chat_result(Ollama::new(&server.url).unwrap()).await.unwrap_err())
}

#[tokio::test]
async fn chat_is_sent_byte_for_byte_and_chunks_are_joined() {
    let mut server = ModelServer::start([Script::stream(&[format!("{FIRST}\n"), format!("{LAST}\n")])]).await;
    let submitted = r#"{"model":"m","messages":[{"role":"user","content":"\u00e4","x":1.0}],"tools":[ 1 ],"options":{"t":1e0},"think":"high"}"#;
    let response = Ollama::new(&server.url).unwrap().oneshot(chat(submitted)).await.unwrap();
    let result: Value = serde_json::from_str(response.result.get()).unwrap();
    let message = json!({ "role": "assistant", "content": "aäb" });
    assert_eq!(
        result,
        json!({ "model": "m", "created_at": "2", "message": message, "done": true, "done_reason": "stop", "eval_count": 2 })
    );
    let request = server.request().await;
    assert_eq!((request.line(), request.header("content-type")), ("POST /api/chat", Some("application/json")));
    assert_eq!(request.body, submitted.replace(r#","tools""#, r#","stream":true,"tools""#));
}

#[tokio::test]
async fn lines_may_be_split_anywhere() {
    let whole = format!("{FIRST}\n\r\n{LAST}");
    let bytes: Vec<_> = whole.as_bytes().chunks(1).collect();
    let server = ModelServer::start([Script::stream(&bytes)]).await;
    assert_eq!(chat_result(Ollama::new(&server.url).unwrap()).await.unwrap()["message"]["content"], "aäb");
}

#[tokio::test]
async fn broken_or_invalid_stream_is_transient() {
    let part = &[format!("{FIRST}\n")];
    for (script, why) in [
        (Script::broken(part), "connection to the model server lost"),
        (Script::stream(part), "invalid response from the model server: stream ended early"),
        (Script::stream(&["<html>\n"]), "invalid response from the model server: line is not a chat chunk"),
        (Script::stream(&[b"\xff\n"]), "invalid response from the model server: line is not a chat chunk"),
        (Script::stream(&[&part[0], "{\"error\":\"out of memory\"}\n"]), "the model server failed: out of memory"),
        (Script::respond("200 OK", ""), "invalid response from the model server: stream ended early"),
    ] {
        let (transient, text) = chat_error(script).await;
        assert!(transient && text.contains(why), "{why}: {text}");
    }
}

#[tokio::test]
async fn stalled_stream_is_transient() {
    let server = ModelServer::start([Script::stalled(&[format!("{FIRST}\n")])]).await;
    let ollama = Ollama::builder(&server.url).stall(STALL).build().unwrap();
    let (transient, text) = error_chain(&chat_result(ollama).await.unwrap_err());
    assert!(transient && text.ends_with("no data from the model server for 20 ms"), "{text}");
}

#[tokio::test]
async fn error_status_is_final_with_message() {
    let (transient, text) = chat_error(Script::respond("404 Not Found", r#"{"error":"model 'x' not found"}"#)).await;
    assert_eq!((transient, text.as_str()), (false, "the model server returned 404: model 'x' not found"));
}

#[tokio::test]
async fn first_part_has_own_limit() {
    let server = ModelServer::start([Script::silent(), Script::stalled(&[""; 0])]).await;
    let ollama = Ollama::builder(&server.url).first_stall(STALL).build().unwrap();
    for _ in 0..2 {
        let (transient, text) = error_chain(&chat_result(ollama.clone()).await.unwrap_err());
        assert!(transient && text.ends_with("no data from the model server for 20 ms"), "{text}");
    }
}

#[tokio::test]
async fn attempt_timeout_and_response_limit_are_final() {
    let server = ModelServer::start([Script::silent(), Script::stream(&[FIRST])]).await;
    let short = Ollama::builder(&server.url).attempt_timeout(STALL).build().unwrap();
    let (transient, text) = error_chain(&chat_result(short).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "attempt timed out after 20 ms"));
    let small = Ollama::builder(&server.url).response_limit(10).build().unwrap();
    let (transient, text) = error_chain(&chat_result(small).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "response of the model server exceeds 10 bytes"));
}

#[tokio::test]
async fn busy_or_unreachable_server_is_unavailable() {
    let (_socket, url) = unused_url();
    let (transient, text) = error_chain(&chat_result(Ollama::new(url).unwrap()).await.unwrap_err());
    assert!(!transient && text.starts_with("backend unavailable: cannot connect to http://127.0.0.1:"), "{text}");
    let busy = Script::respond("503 Service Unavailable", r#"{"error":"busy"}"#);
    assert_eq!(chat_error(busy).await, (false, "backend unavailable: the model server returned 503: busy".to_owned()));
}

#[tokio::test]
async fn daemon_serves_models_embeddings_and_chats() {
    let tags = r#"{"models":[{"name":"m:latest","model":"m:latest","modified_at":"2026-01-02T03:04:05.6+02:00","size":7,"digest":"d","details":{"family":"f"}}]}"#;
    let mut server = ModelServer::start([
        Script::respond("200 OK", "{}"),
        Script::respond("200 OK", tags),
        Script::respond("200 OK", r#"{"model":"m","embeddings":[[0.5]],"total_duration":1}"#),
        Script::respond("404 Not Found", r#"{"error":"no such model"}"#),
        Script::stream(&[LAST]),
    ])
    .await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();
    // The list of models at the start.
    server.request().await;

    let models = get(&daemon, "/api/tags", &[]).await.json();
    assert_eq!((&models["models"][0]["size"], &models["models"][0]["details"]["family"]), (&json!(7), &json!("f")));
    let body = r#"{"model":"m","input":["a"],"keep_alive":"5m","options":{"x":1.0}}"#;
    let vectors = post(&daemon, "/api/embed", &[], body).await.json();
    assert_eq!(vectors, json!({ "model": "m", "embeddings": [[0.5]] }));
    let refused = post(&daemon, "/api/embed", &[], body).await.refused(502);
    assert_eq!(refused, "the model server returned 404: no such model");
    let job = ended(&daemon, &submit(&daemon, "hi").await).await;
    assert_eq!(job["result"]["message"]["content"], "b", "{job}");

    assert_eq!(server.request().await.line(), "GET /api/tags");
    let request = server.request().await;
    assert_eq!((request.line(), request.body.as_str()), ("POST /api/embed", body));
}

#[tokio::test]
async fn further_fields_of_submission_reach_ollama_byte_for_byte() {
    let mut server = ModelServer::start([Script::respond("200 OK", "{}"), Script::stream(&[LAST])]).await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();
    // The list of models at the start.
    server.request().await;
    let body = r#"{"format":{ "type" : "object","x":1e0 },"model":"m","keep_alive":"5m","event_stream":"e","messages":[],"none":null,"own":"\u00e4"}"#;
    accepted(&post(&daemon, "/jobs", &[], body).await);
    let sent = r#"{"model":"m","messages":[],"stream":true,"format":{ "type" : "object","x":1e0 },"keep_alive":"5m","own":"\u00e4"}"#;
    assert_eq!(server.request().await.body, sent);
}

#[tokio::test]
async fn cancellation_closes_connection() {
    let mut server = ModelServer::start([Script::stalled(&[format!("{FIRST}\n")])]).await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();
    let job = submit(&daemon, "hi").await;
    server.request().await;
    assert_eq!(delete(&daemon, &format!("/jobs/{job}")).await.status, 202);
    server.disconnected().await;
}

#[tokio::test]
async fn models_and_embeddings_share_limits() {
    let scripts = [Script::respond("200 OK", "<html>"), Script::silent()];
    let server = ModelServer::start(scripts).await;
    let ollama = Ollama::builder(&server.url).first_stall(STALL).build().unwrap();
    let (transient, text) = error_chain(&ollama.clone().oneshot(ListModels::default()).await.unwrap_err());
    assert!(transient && text.contains("unexpected JSON"), "{text}");
    let (transient, text) = error_chain(&ollama.oneshot(EmbedRequest::new("m", "a").unwrap()).await.unwrap_err());
    assert!(transient && text.contains("no data from the model server"), "{text}");
}

#[test]
fn invalid_limit_and_url_are_rejected() {
    let error = Ollama::builder("http://h").stall(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "invalid stall: must not be zero");
    assert!(Ollama::new("ftp://h").unwrap_err().to_string().starts_with("invalid url: "));
}
