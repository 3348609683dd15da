use foreman_daemon::BoxError;
use foreman_daemon::{Daemon, OpenAi};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::model_server::{ModelServer, STALL, Script, chat, error_chain, unused_url};
use super::raw::{accepted, ended, get, post, submit};

fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finished(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

async fn chat_result(openai: OpenAi, body: &str) -> Result<Value, BoxError> {
    Ok(serde_json::from_str(openai.oneshot(chat(body)).await?.result.get())?)
}

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn chat_is_mapped_to_openai_and_back() {
    let text = events(&[
        delta(&json!({ "role": "assistant", "content": null })),
        delta(&json!({ "reasoning_content": "hm" })),
        delta(&json!({ "content": "aä" })),
        delta(&json!({ "content": "b" })),
        finished("length"),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 } }),
    ]);
    // One byte at a time: split within lines and within a character of two bytes.
    let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
    let mut server = ModelServer::start([Script::stream(&bytes)]).await;
    let openai = OpenAi::builder(&server.url).api_key("secret-7").build().unwrap();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi","images":["iVBORw0KGgoAAAANSUhEUg=="]}],"think":"low","options":{"num_predict":9,"temperature":0.50,"num_ctx":1}}"#;
    let result = chat_result(openai, body).await.unwrap();
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

    let request = server.request().await;
    assert_eq!(
        (request.line(), request.header("authorization")),
        ("POST /v1/chat/completions", Some("Bearer secret-7"))
    );
    let parts = json!([
        { "type": "text", "text": "hi" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==" } },
    ]);
    let expected = json!({
        "model": "m", "messages": [{ "role": "user", "content": parts }], "stream": true,
        "stream_options": { "include_usage": true }, "reasoning_effort": "low", "temperature": 0.5, "max_tokens": 9,
    });
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn tool_call_parts_are_joined_and_matched_to_result() {
    let piece = |piece: Value| delta(&json!({ "tool_calls": [piece] }));
    let text = events(&[
        piece(json!({ "index": 0, "id": "x", "type": "function", "function": { "name": "f", "arguments": "" } })),
        piece(json!({ "index": 0, "function": { "arguments": "{\"city\":" } })),
        piece(json!({ "index": 0, "function": { "arguments": "\"Köln\"}" } })),
        finished("tool_calls"),
    ]);
    let mut server =
        ModelServer::start([Script::stream(&[text]), Script::stream(&[events(&[finished("stop")])])]).await;
    // This URL contains the version; the one above does not.
    let openai = OpenAi::new(format!("{}/v1/", server.url)).unwrap();
    let result = chat_result(openai.clone(), PLAIN).await.unwrap();
    let calls = json!([{ "id": "x", "function": { "name": "f", "arguments": { "city": "Köln" } } }]);
    assert_eq!((&result["message"]["tool_calls"], &result["done_reason"]), (&calls, &json!("stop")));

    let body =
        json!({ "model": "m", "messages": [result["message"], { "role": "tool", "tool_name": "f", "content": "7" }] });
    chat_result(openai, &body.to_string()).await.unwrap();
    assert_eq!(server.request().await.line(), "POST /v1/chat/completions");
    let messages = server.request().await.json()["messages"].clone();
    assert_eq!(
        messages[0]["tool_calls"],
        json!([{ "id": "x", "type": "function", "function": { "name": "f", "arguments": "{\"city\":\"Köln\"}" } }])
    );
    assert_eq!(messages[1], json!({ "role": "tool", "content": "7", "tool_call_id": "x" }));
}

#[tokio::test]
async fn broken_or_invalid_stream_is_transient() {
    let part = format!("data: {}\n\n", delta(&json!({ "content": "a" })));
    for (script, why) in [
        (Script::broken(&[&part]), "connection to the model server lost"),
        (Script::stream(&[&part]), "invalid response from the model server: stream ended early"),
        (Script::stream(&["data: {\n\n"]), "invalid response from the model server: event is not a chat chunk"),
        (Script::stream(&["<html>"]), "invalid response from the model server: line is not part of an event stream"),
        (
            Script::stream(&[&part, "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n"]),
            "the model server failed: out of memory",
        ),
    ] {
        let server = ModelServer::start([script]).await;
        let (transient, text) = error_chain(&chat_result(OpenAi::new(&server.url).unwrap(), PLAIN).await.unwrap_err());
        assert!(transient && text.contains(why), "{why}: {text}");
    }
}

#[tokio::test]
async fn busy_or_unreachable_server_is_unavailable() {
    let busy = Script::respond("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#);
    let server = ModelServer::start([busy]).await;
    let (_socket, unused) = unused_url();
    for (url, why) in [
        (server.url.clone(), "the model server returned 429: slow down"),
        (unused, "cannot connect to http://127.0.0.1:"),
    ] {
        let (transient, text) = error_chain(&chat_result(OpenAi::new(url).unwrap(), PLAIN).await.unwrap_err());
        assert!(!transient && text.starts_with(&format!("backend unavailable: {why}")), "{text}");
    }
}

#[tokio::test]
async fn stalled_stream_is_transient() {
    let part = format!("data: {}\n\n", delta(&json!({ "content": "a" })));
    let server = ModelServer::start([Script::stalled(&[part])]).await;
    let openai = OpenAi::builder(&server.url).stall(STALL).build().unwrap();
    let (transient, text) = error_chain(&chat_result(openai, PLAIN).await.unwrap_err());
    assert!(transient && text.ends_with("no data from the model server for 20 ms"), "{text}");
}

#[tokio::test]
async fn keep_alives_do_not_extend_first_stall() {
    let alive = format!("data: {}\n\n", delta(&json!({ "role": "assistant" })));
    let server = ModelServer::start([Script::stalled(&[":\n\n", &alive, ": ping\n\n"])]).await;
    let openai = OpenAi::builder(&server.url).first_stall(STALL * 5).build().unwrap();
    let (transient, text) = error_chain(&chat_result(openai, PLAIN).await.unwrap_err());
    // The first-part limit expired, because no part has arrived.
    assert!(transient && text.ends_with("no data from the model server for 100 ms"), "{text}");
}

#[tokio::test]
async fn stream_may_end_without_done_after_finish_reason() {
    let text = format!("data: {}\n\ndata: {}", delta(&json!({ "content": "a" })), finished("stop"));
    let server = ModelServer::start([Script::stream(&[text])]).await;
    let result = chat_result(OpenAi::new(&server.url).unwrap(), PLAIN).await.unwrap();
    assert_eq!((&result["message"]["content"], &result["eval_count"]), (&json!("a"), &Value::Null));
}

#[tokio::test]
async fn finished_response_survives_broken_or_stalled_end() {
    let part = format!("data: {}\n\n", delta(&json!({ "content": "a" })));
    let end = format!("data: {}\n\n", finished("stop"));
    for script in [Script::broken(&[&part, &end]), Script::stalled(&[&part, &end])] {
        let server = ModelServer::start([script]).await;
        let openai = OpenAi::builder(&server.url).stall(STALL).build().unwrap();
        let result = chat_result(openai, PLAIN).await.unwrap();
        assert_eq!((&result["message"]["content"], &result["done_reason"]), (&json!("a"), &json!("stop")));
    }
}

#[tokio::test]
async fn format_thinking_and_options_of_llama_cpp_and_vllm_are_mapped() {
    let mut server =
        ModelServer::start([Script::respond("200 OK", "{}"), Script::stream(&[events(&[finished("stop")])])]).await;
    let daemon = Daemon::builder().backend(OpenAi::new(&server.url).unwrap()).start().await.unwrap();
    // The list of models at the start.
    server.request().await;
    let body = r#"{"model":"m","format":{"type":"object"},"think":false,"keep_alive":"5m","options":{"top_k":20,"min_p":0.10,"repeat_penalty":1.1}}"#;
    accepted(&post(&daemon, "/jobs", &[], body).await);
    let sent = concat!(
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true},"#,
        r#""chat_template_kwargs":{"enable_thinking":false},"#,
        r#""response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object"},"strict":true}},"#,
        r#""ttl":300,"top_k":20,"min_p":0.10,"repeat_penalty":1.1,"repetition_penalty":1.1}"#,
    );
    assert_eq!(server.request().await.body, sent);
}

#[tokio::test]
async fn unmappable_field_is_refused_at_submission() {
    let (_socket, url) = unused_url();
    let daemon = Daemon::builder().backend(OpenAi::new(url).unwrap()).start().await.unwrap();
    for (field, message) in [
        (r#""format":"yaml""#, "invalid format: must be \"json\" or a JSON schema"),
        (r#""format":7"#, "invalid format: must be \"json\" or a JSON schema"),
        (r#""think":7"#, "invalid think: must be a boolean or a level"),
        (r#""keep_alive":"soon""#, "invalid keep_alive: must be a number of seconds or a duration such as \"5m\""),
        (r#""options":{"mirostat":1}"#, "invalid options: OpenAI's API has no counterpart of `mirostat`"),
        (r#""logprobs":true"#, "invalid request: OpenAI's API has no counterpart of `logprobs`"),
        (r#""messages":[{"content":"no role"}]"#, "invalid messages: not a chat message"),
    ] {
        let refused = post(&daemon, "/jobs", &[], &format!(r#"{{"model":"m",{field}}}"#)).await.refused(422);
        assert!(refused.starts_with(message), "{field}: {refused}");
    }
    assert_eq!(daemon.stats().accepted, 0);
}

#[tokio::test]
async fn error_status_and_unmappable_chat_are_final() {
    let refusal = r#"{"error":{"message":"model 'x' not found","type":"not_found_error","code":404}}"#;
    let server = ModelServer::start([Script::respond("404 Not Found", refusal)]).await;
    let openai = OpenAi::new(&server.url).unwrap();
    let text_as_image = r#"{"model":"m","messages":[{"role":"user","images":["bm8gaW1hZ2UgYXQgYWxs"]}]}"#;
    let (transient, text) = error_chain(&chat_result(openai.clone(), text_as_image).await.unwrap_err());
    assert!(!transient && text.starts_with("invalid messages: image must be"), "{text}");
    let (transient, text) = error_chain(&chat_result(openai, PLAIN).await.unwrap_err());
    assert_eq!((transient, text.as_str()), (false, "the model server returned 404: model 'x' not found"));
}

#[tokio::test]
async fn daemon_serves_models_embeddings_and_chats() {
    let vectors = r#"{"model":"m","data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}]}"#;
    let mut server = ModelServer::start([
        Script::respond("200 OK", "{}"),
        Script::respond("200 OK", r#"{"object":"list","data":[{"id":"m","object":"model","created":60}]}"#),
        Script::respond("200 OK", vectors),
        Script::respond("200 OK", vectors),
        Script::stream(&[events(&[delta(&json!({ "content": "b" })), finished("stop")])]),
    ])
    .await;
    let daemon = Daemon::builder().backend(OpenAi::new(&server.url).unwrap()).start().await.unwrap();
    // The list of models at the start.
    server.request().await;

    let models = get(&daemon, "/api/tags", &[]).await.json();
    assert_eq!((&models["models"][0]["name"], &models["models"][0]["model"]), (&json!("m"), &json!("m")));
    let two = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":["a","b"]}"#).await.json();
    assert_eq!(two, json!({ "model": "m", "embeddings": [[1.0], [2.0]] }));
    let refused = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":"a"}"#).await.refused(502);
    assert!(refused.ends_with("number of embeddings differs from number of texts"), "{refused}");
    let job = ended(&daemon, &submit(&daemon, "hi").await).await;
    assert_eq!(job["result"]["message"]["content"], "b", "{job}");

    assert_eq!(server.request().await.line(), "GET /v1/models");
    let request = server.request().await;
    assert_eq!(request.line(), "POST /v1/embeddings");
    assert_eq!(request.body, r#"{"model":"m","input":["a","b"],"encoding_format":"float"}"#);
}
