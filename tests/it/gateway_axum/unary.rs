use foreman_client::DropPolicy;

use super::{AxumHarness, CHAT, Settings, assert_result, ended, problem, read};
use crate::support::{eventually, job_id, seconds};

#[tokio::test]
async fn chat_returns_result_and_job_id() {
    let harness = AxumHarness::new().await;
    let body = r#"{"model":"m","messages":[{"b" : 1.0}],"options":{ "t":1e0 },"think":"high","stream":true}"#;
    let caller = harness.send("/chat", body).await;
    let chat = harness.gate.run_started().await;
    // The backend receives the fields of the request unchanged.
    assert_eq!((chat.model(), chat.messages()[0].as_json()), ("m", r#"{"b" : 1.0}"#));
    assert_eq!((chat.options().unwrap().get(), chat.think().unwrap().get()), (r#"{ "t":1e0 }"#, r#""high""#));
    // The events (queued, running) arrive at the same server.
    eventually("events are delivered", || harness.daemon.stats().webhooks_delivered == 2).await;
    harness.gate.open(1);
    let response = read(caller).await;
    assert_result(&response, chat.job_id());
    assert_eq!(response.header("location"), Some(format!("/jobs/{}", chat.job_id()).as_str()));
    assert!(response.header("x-request-id").is_some());
    assert_eq!(harness.daemon.executions(chat.job_id()).await, 1);
}

#[tokio::test]
async fn invalid_input_is_a_problem_with_field() {
    let harness = AxumHarness::new().await;
    for (body, field) in [
        (r#"{"model":"","messages":[]}"#, "model"),
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":"m","messages":[7]}"#, "messages"),
        (r#"{"model":"m","messages":["hi"]}"#, "messages"),
        (r#"{"model":"m","messages":"hi"}"#, "messages"),
        (r#"{"model":7,"messages":[]}"#, "model"),
        (r#"{"model":"m","messages":[],"event_stream":"a"}"#, "`event_stream`"),
        ("{", "JSON"),
    ] {
        for path in ["/chat", "/chat/events"] {
            let problem = problem(&read(harness.send(path, body).await).await, 400);
            assert!(problem["detail"].as_str().unwrap().contains(field), "{body}: {problem}");
        }
    }
    assert_eq!(harness.daemon.stats().accepted, 0);
}

#[tokio::test]
async fn unknown_job_is_not_found() {
    let harness = AxumHarness::new().await;
    let id = job_id("unknown");
    assert_eq!(problem(&harness.get(&id).await, 404)["job_id"], "unknown");
}

#[tokio::test]
async fn deadline_returns_job_id_to_attach() {
    // Long enough for the submission on a busy machine.
    let harness =
        AxumHarness::with(|settings| Settings { client: settings.client.deadline(seconds(3)), ..settings }).await;
    let response = read(harness.send("/chat", CHAT).await).await;
    let id = harness.gate.run_started().await.job_id().clone();
    let problem = problem(&response, 504);
    assert_eq!((&problem["job_id"], &problem["last_state"]), (&id.as_str().into(), &"running".into()));
    assert_eq!(problem["may_be_running"], true);
    assert_eq!(response.header("location"), Some(format!("/jobs/{id}").as_str()));
    harness.gate.open(1);
    assert_result(&harness.get(&id).await, &id);
    assert_eq!((harness.daemon.executions(&id).await, harness.daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn disconnect_detaches_job() {
    let harness = AxumHarness::new().await;
    for (dropped, path) in [(1, "/chat"), (2, "/chat/events")] {
        let caller = harness.send(path, CHAT).await;
        let id = harness.gate.run_started().await.job_id().clone();
        drop(caller);
        eventually("the wait is dropped", || harness.client().stats().waits.dropped == dropped).await;
        harness.gate.open(1);
        assert_result(&harness.get(&id).await, &id);
        assert_eq!(harness.daemon.executions(&id).await, 1);
    }
    assert_eq!(harness.daemon.stats().cancelled, 0);
}

#[tokio::test]
async fn disconnect_cancels_job_by_policy() {
    let harness =
        AxumHarness::with(|settings| Settings { client: settings.client.on_drop(DropPolicy::Cancel), ..settings })
            .await;
    for path in ["/chat", "/chat/events"] {
        let caller = harness.send(path, CHAT).await;
        let id = harness.gate.run_started().await.job_id().clone();
        drop(caller);
        harness.gate.run_dropped().await;
        assert_eq!(ended(&harness.daemon, &id).await["error"], "cancelled");
        assert_eq!(harness.daemon.executions(&id).await, 1);
    }
    assert_eq!(harness.daemon.stats().cancelled, 2);
}
