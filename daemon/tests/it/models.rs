use foreman_daemon::{Backend, Chat, ChatResponse, Daemon, ListModels};
use foreman_daemon::{BoxError, EmbedRequest, EmbedResponse, ModelInfo};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tower::service_fn;

use super::raw::{get, post, read, request, send};

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

#[tokio::test]
async fn embeddings_run_one_at_a_time_and_a_short_queue_waits() {
    let (begin, mut begun) = unbounded_channel();
    let embed = service_fn(move |_: EmbedRequest| {
        let (end, ended) = tokio::sync::oneshot::channel();
        let _ = begin.send(end);
        async move {
            ended.await?;
            Ok::<_, BoxError>(EmbedResponse::new(vec![vec![1.0]]))
        }
    });
    let chat = service_fn(async |_: Chat| Ok::<_, BoxError>(ChatResponse::from_value(&())?));
    let daemon = Daemon::builder().backend(Backend::new(chat).embed(embed)).start().await.unwrap();
    let text = request("POST", "/api/embed", &["Content-Type: application/json"], r#"{"model":"m","input":"a"}"#);
    // One runs, 16 wait, and one is refused.
    let mut requests = JoinSet::new();
    for _ in 0..18 {
        let (address, text) = (daemon.local_addr(), text.clone());
        requests.spawn(async move { read(send(address, text).await).await });
    }
    let first = begun.recv().await.unwrap();
    let refused = tokio::select! {
        refused = requests.join_next() => refused.unwrap().unwrap(),
        _ = begun.recv() => panic!("two embeddings run at once"),
    };
    assert_eq!(refused.refused(429), "the queue for embeddings is full");
    assert!(refused.asks_to_wait(5), "{refused:?}");
    assert!(begun.is_empty());
    first.send(()).unwrap();
    for _ in 0..16 {
        assert_eq!(requests.join_next().await.unwrap().unwrap().status, 200);
        begun.recv().await.unwrap().send(()).unwrap();
    }
    assert_eq!(requests.join_next().await.unwrap().unwrap().status, 200);
    assert!(requests.is_empty());
}
