use foreman_client::tonic014::{LAST_STATE, MAY_BE_RUNNING};
use foreman_client::{DropPolicy, JobId};
use tonic::{Code, Request};

use super::proto::ChatRequest;
use super::{Settings, TonicHarness, assert_result, attach, chat, chat_events, job_id, spawn_chat, value};
use crate::raw::ended;
use crate::support::{bounded, eventually, seconds};

#[tokio::test]
async fn chat_returns_result_and_job_id() {
    let harness = TonicHarness::new().await;
    let mut caller = harness.caller.clone();
    let request = ChatRequest {
        model: "m".to_owned(),
        messages: vec![r#"{"b" : 1.0}"#.to_owned()],
        options: Some(r#"{ "t":1e0 }"#.to_owned()),
    };
    let call = tokio::spawn(async move { caller.chat(Request::new(request)).await });
    let begun = harness.gate.run_started().await;
    // The backend receives the fields of the request unchanged.
    assert_eq!((begun.messages()[0].as_json(), begun.options().unwrap().get()), (r#"{"b" : 1.0}"#, r#"{ "t":1e0 }"#));
    harness.gate.open(1);
    assert_result(bounded(call).await.unwrap(), begun.job_id());
    assert_eq!(harness.daemon.executions(begun.job_id()).await, 1);
}

#[tokio::test]
async fn invalid_input_names_field() {
    let mut harness = TonicHarness::new().await;
    let request = |model: &str, message: &str, options: Option<&str>| ChatRequest {
        model: model.to_owned(),
        messages: vec![message.to_owned()],
        options: options.map(str::to_owned),
    };
    for (request, field) in [
        (request("", "{}", None), "model"),
        (request("m", "7", None), "messages"),
        (request("m", "{", None), "messages"),
        (request("m", "{}", Some("{")), "options"),
    ] {
        let status = bounded(harness.caller.chat(Request::new(request.clone()))).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(field), "{status}");
        let status = bounded(harness.caller.chat_events(Request::new(request))).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert_eq!(attach(&mut harness.caller, &JobId::new("unknown").unwrap()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(harness.daemon.stats().accepted, 0);
}

#[tokio::test]
async fn deadline_returns_job_id_to_attach() {
    let mut harness = TonicHarness::new().await;
    let mut request = chat();
    // Long enough for the submission on a busy machine.
    request.set_timeout(seconds(5));
    let status = bounded(harness.caller.chat(request)).await.unwrap_err();
    let id = harness.gate.run_started().await.job_id().clone();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::DeadlineExceeded, Some(id.as_str())));
    assert_eq!(value(status.metadata(), LAST_STATE), Some("running"));
    assert_eq!(value(status.metadata(), MAY_BE_RUNNING), Some("true"));
    harness.gate.open(1);
    assert_result(attach(&mut harness.caller, &id).await, &id);
    assert_eq!((harness.daemon.executions(&id).await, harness.daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn disconnect_detaches_job() {
    let mut harness = TonicHarness::new().await;
    let call = spawn_chat(&harness.caller);
    let first = harness.gate.run_started().await.job_id().clone();
    call.abort();
    eventually("the wait is dropped", || harness.client().stats().waits.dropped == 1).await;
    harness.gate.open(1);
    assert_result(attach(&mut harness.caller, &first).await, &first);

    let events = chat_events(&mut harness.caller).await.unwrap();
    let second = harness.gate.run_started().await.job_id().clone();
    assert_eq!(job_id(events.metadata()), Some(second.as_str()));
    drop(events);
    eventually("the wait is dropped", || harness.client().stats().waits.dropped == 2).await;
    harness.gate.open(1);
    assert_result(attach(&mut harness.caller, &second).await, &second);
    assert_eq!((harness.daemon.executions(&first).await, harness.daemon.executions(&second).await), (1, 1));
    assert_eq!(harness.daemon.stats().cancelled, 0);
}

#[tokio::test]
async fn disconnect_cancels_job_by_policy() {
    let harness =
        TonicHarness::with(|settings| Settings { client: settings.client.on_drop(DropPolicy::Cancel), ..settings })
            .await;
    let call = spawn_chat(&harness.caller);
    let id = harness.gate.run_started().await.job_id().clone();
    call.abort();
    harness.gate.run_dropped().await;
    assert_eq!(bounded(ended(&harness.daemon, id.as_str())).await["error"], "cancelled");
    assert_eq!((harness.daemon.executions(&id).await, harness.daemon.stats().cancelled), (1, 1));
}
