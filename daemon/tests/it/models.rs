use foreman_daemon::{Backend, Chat, ChatResponse, Daemon, ListModels};
use foreman_daemon::{BoxError, EmbedRequest, EmbedResponse, ModelInfo};
use tower::service_fn;

use super::raw::{get, post};

#[tokio::test]
async fn echo_lists_itself_and_embeds_deterministically() {
    let daemon = Daemon::start().await.unwrap();
    let tags = get(&daemon, "/api/tags", &[]).await.json();
    assert_eq!((tags["models"].as_array().unwrap().len(), &tags["models"][0]["name"]), (1, &"echo".into()));
    let many = post(&daemon, "/api/embed", &[], r#"{"model":"echo","input":["a","b","a"]}"#).await.json();
    let vectors = many["embeddings"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    assert!(vectors[0] == vectors[2] && vectors[0] != vectors[1] && vectors[0][0].is_number());
    let one = post(&daemon, "/api/embed", &[], r#"{"model":"echo","input":"a"}"#).await.json();
    assert_eq!((&one["model"], &one["embeddings"][0]), (&"echo".into(), &vectors[0]));
}

#[tokio::test]
async fn backend_provides_models_and_embeddings() {
    let chat = service_fn(async |_: Chat| Ok::<_, BoxError>(ChatResponse::from_value(&())?));
    let plain = Daemon::builder().backend(Backend::new(chat)).start().await.unwrap();
    assert_eq!(get(&plain, "/api/tags", &[]).await.json()["models"], serde_json::json!([]));
    post(&plain, "/api/embed", &[], r#"{"model":"m","input":"a"}"#).await.refused(501);

    let models = service_fn(async |_: ListModels| Ok::<_, BoxError>(vec![ModelInfo::new("mine")]));
    let embed = service_fn(async |request: EmbedRequest| match request.model() {
        "mine" => Ok(EmbedResponse::new(vec![vec![1.0]])),
        other => Err(BoxError::from(format!("no model {other}"))),
    });
    let daemon = Daemon::builder().backend(Backend::new(chat).models(models).embed(embed)).start().await.unwrap();
    assert_eq!(get(&daemon, "/api/tags", &[]).await.json()["models"][0]["model"], "mine");
    let vectors = post(&daemon, "/api/embed", &[], r#"{"model":"mine","input":"a"}"#).await.json();
    assert_eq!(vectors, serde_json::json!({ "embeddings": [[1.0]] }));
    assert_eq!(post(&daemon, "/api/embed", &[], r#"{"model":"x","input":"a"}"#).await.refused(502), "no model x");
    post(&daemon, "/api/embed", &[], r#"{"model":"","input":"a"}"#).await.refused(422);
    post(&daemon, "/api/embed", &[], r#"{"model":"mine"}"#).await.refused(422);
}
