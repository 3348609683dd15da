use foreman_daemon::BoxError;
use foreman_daemon::{Daemon, OpenAi};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::model_server::{ModelServer, STALL, Script, chat, nobody, told};
use super::raw::{ended, get, post, submit};

fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finished(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

async fn answered(openai: OpenAi, body: &str) -> Result<Value, BoxError> {
    Ok(serde_json::from_str(openai.oneshot(chat(body)).await?.result.get())?)
}

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn a_chat_is_mapped_to_openai_and_its_events_back() {
    let text = events(&[
        delta(&json!({ "role": "assistant", "content": null })),
        delta(&json!({ "reasoning_content": "hm" })),
        delta(&json!({ "content": "aä" })),
        delta(&json!({ "content": "b" })),
        finished("length"),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 } }),
    ]);
    // Each byte by itself: cut within lines and within a letter of two bytes.
    let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
    let mut server = ModelServer::start([Script::stream(&bytes)]).await;
    let openai = OpenAi::builder(&server.url).api_key("secret-7").build().unwrap();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi","images":["iVBORw0KGgoAAAANSUhEUg=="]}],"think":"low","options":{"num_predict":9,"temperature":0.50,"num_ctx":1}}"#;
    let result = answered(openai, body).await.unwrap();
    assert_eq!(result["message"], json!({ "role": "assistant", "content": "aäb", "thinking": "hm" }));
    assert_eq!(
        [
            &result["model"],
            &result["done"],
            &result["done_reason"],
            &result["prompt_eval_count"],
            &result["eval_count"]
        ],
        [&json!("m"), &json!(true), &json!("length"), &json!(5), &json!(2)]
    );
    assert!(result["total_duration"].as_u64().is_some_and(|took| took > 0));

    let asked = server.asked().await;
    assert_eq!((asked.line(), asked.header("authorization")), ("POST /v1/chat/completions", Some("Bearer secret-7")));
    let parts = json!([
        { "type": "text", "text": "hi" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==" } },
    ]);
    let expected = json!({
        "model": "m", "messages": [{ "role": "user", "content": parts }], "stream": true,
        "stream_options": { "include_usage": true }, "reasoning_effort": "low", "temperature": 0.5, "max_tokens": 9,
    });
    assert_eq!(asked.json(), expected);
}

#[tokio::test]
async fn a_tool_call_in_pieces_becomes_whole_and_its_result_finds_it() {
    let piece = |piece: Value| delta(&json!({ "tool_calls": [piece] }));
    let text = events(&[
        piece(json!({ "index": 0, "id": "x", "type": "function", "function": { "name": "f", "arguments": "" } })),
        piece(json!({ "index": 0, "function": { "arguments": "{\"city\":" } })),
        piece(json!({ "index": 0, "function": { "arguments": "\"Köln\"}" } })),
        finished("tool_calls"),
    ]);
    let mut server =
        ModelServer::start([Script::stream(&[text]), Script::stream(&[events(&[finished("stop")])])]).await;
    // With the version in the URL, and without it above.
    let openai = OpenAi::new(format!("{}/v1/", server.url)).unwrap();
    let result = answered(openai.clone(), PLAIN).await.unwrap();
    let calls = json!([{ "id": "x", "function": { "name": "f", "arguments": { "city": "Köln" } } }]);
    assert_eq!((&result["message"]["tool_calls"], &result["done_reason"]), (&calls, &json!("stop")));

    let body =
        json!({ "model": "m", "messages": [result["message"], { "role": "tool", "tool_name": "f", "content": "7" }] });
    answered(openai, &body.to_string()).await.unwrap();
    assert_eq!(server.asked().await.line(), "POST /v1/chat/completions");
    let messages = server.asked().await.json()["messages"].clone();
    assert_eq!(
        messages[0]["tool_calls"],
        json!([{ "id": "x", "type": "function", "function": { "name": "f", "arguments": "{\"city\":\"Köln\"}" } }])
    );
    assert_eq!(messages[1], json!({ "role": "tool", "content": "7", "tool_call_id": "x" }));
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_is_garbage_may_go_well_another_time() {
    let part = format!("data: {}\n\n", delta(&json!({ "content": "a" })));
    for (script, why) in [
        (Script::broken(&[&part]), "the exchange with the model server broke off"),
        (Script::stream(&[&part]), "the model server's answer cannot be used: it ends before it is done"),
        (
            Script::stream(&["data: {\n\n"]),
            "the model server's answer cannot be used: an event is not a chunk of a chat",
        ),
        (Script::stream(&["<html>"]), "the model server's answer cannot be used: a line is not one of an event stream"),
        (
            Script::stream(&[&part, "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n"]),
            "the model server failed: out of memory",
        ),
        (
            Script::answer("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#),
            "the model server answered 429: slow down",
        ),
    ] {
        let server = ModelServer::start([script]).await;
        let (transient, text) = told(&answered(OpenAi::new(&server.url).unwrap(), PLAIN).await.unwrap_err());
        assert!(transient && text.contains(why), "{why}: {text}");
    }
    let (_socket, url) = nobody();
    let (transient, text) = told(&answered(OpenAi::new(url).unwrap(), PLAIN).await.unwrap_err());
    assert!(transient && text.contains("cannot connect to the model server"), "{text}");
}

#[tokio::test]
async fn a_stream_that_stalls_may_go_well_another_time() {
    let part = format!("data: {}\n\n", delta(&json!({ "content": "a" })));
    let server = ModelServer::start([Script::stalled(&[part])]).await;
    let openai = OpenAi::builder(&server.url).stall(STALL).build().unwrap();
    let (transient, text) = told(&answered(openai, PLAIN).await.unwrap_err());
    assert!(transient && text.ends_with("nothing came from the model server for 20ms"), "{text}");
}

#[tokio::test]
async fn what_keeps_a_connection_alive_is_no_sign_of_a_model() {
    let alive = format!("data: {}\n\n", delta(&json!({ "role": "assistant" })));
    let server = ModelServer::start([Script::stalled(&[":\n\n", &alive, ": ping\n\n"])]).await;
    let openai = OpenAi::builder(&server.url).first_stall(STALL * 5).build().unwrap();
    let (transient, text) = told(&answered(openai, PLAIN).await.unwrap_err());
    // The limit that passed is the one for what comes first: the model has not spoken yet.
    assert!(transient && text.ends_with("nothing came from the model server for 100ms"), "{text}");
}

#[tokio::test]
async fn a_server_may_close_without_done_once_the_model_has_finished() {
    let text = format!("data: {}\n\ndata: {}", delta(&json!({ "content": "a" })), finished("stop"));
    let server = ModelServer::start([Script::stream(&[text])]).await;
    let result = answered(OpenAi::new(&server.url).unwrap(), PLAIN).await.unwrap();
    assert_eq!((&result["message"]["content"], &result["eval_count"]), (&json!("a"), &Value::Null));
}

#[tokio::test]
async fn what_the_server_refuses_or_cannot_be_mapped_is_final() {
    let refusal = r#"{"error":{"message":"model 'x' not found","type":"not_found_error","code":404}}"#;
    let server = ModelServer::start([Script::answer("404 Not Found", refusal)]).await;
    let openai = OpenAi::new(&server.url).unwrap();
    let odd = r#"{"model":"m","messages":[{"role":"user","images":["bm8gaW1hZ2UgYXQgYWxs"]}]}"#;
    let (transient, text) = told(&answered(openai.clone(), odd).await.unwrap_err());
    assert!(!transient && text.starts_with("invalid messages: an image is none of"), "{text}");
    let (transient, text) = told(&answered(openai, PLAIN).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "the model server answered 404: model 'x' not found"));
}

#[tokio::test]
async fn a_daemon_serves_its_models_embeddings_and_chats() {
    let vectors = r#"{"model":"m","data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}]}"#;
    let mut server = ModelServer::start([
        Script::answer("200 OK", r#"{"object":"list","data":[{"id":"m","object":"model","created":60}]}"#),
        Script::answer("200 OK", vectors),
        Script::answer("200 OK", vectors),
        Script::stream(&[events(&[delta(&json!({ "content": "b" })), finished("stop")])]),
    ])
    .await;
    let daemon = Daemon::builder().backend(OpenAi::new(&server.url).unwrap()).start().await.unwrap();

    let models = get(&daemon, "/api/tags", &[]).await.json();
    assert_eq!((&models["models"][0]["name"], &models["models"][0]["model"]), (&json!("m"), &json!("m")));
    let two = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":["a","b"]}"#).await.json();
    assert_eq!(two, json!({ "model": "m", "embeddings": [[1.0], [2.0]] }));
    let refused = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":"a"}"#).await.refused(502);
    assert!(refused.ends_with("it has not one embedding for each text"), "{refused}");
    let job = ended(&daemon, &submit(&daemon, "hi").await).await;
    assert_eq!(job["result"]["message"]["content"], "b", "{job}");

    assert_eq!(server.asked().await.line(), "GET /v1/models");
    let asked = server.asked().await;
    assert_eq!(asked.line(), "POST /v1/embeddings");
    assert_eq!(asked.body, r#"{"model":"m","input":["a","b"],"encoding_format":"float"}"#);
}
