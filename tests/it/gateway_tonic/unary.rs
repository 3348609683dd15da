use std::time::Duration;

use foreman_client::DropPolicy;
use foreman_client::tonic::{LAST_STATE, MAY_BE_RUNNING};
use tonic::{Code, Request};

use super::gateway::proto::ChatRequest;
use super::{Rig, attach, call, chat, job_id, passed, told};
use crate::eventually::eventually;
use crate::raw::{ended, id};

#[tokio::test]
async fn a_chat_is_answered_with_the_result_and_the_id() {
    let rig = Rig::new().await;
    let mut caller = rig.caller.clone();
    let said = ChatRequest {
        model: "m".to_owned(),
        messages: vec![r#"{"b" : 1.0}"#.to_owned()],
        options: Some(r#"{ "t":1e0 }"#.to_owned()),
    };
    let call = tokio::spawn(async move { caller.chat(Request::new(said)).await });
    let begun = rig.gate.begun().await;
    // What the caller said reached the model as it was.
    assert_eq!((begun.messages()[0].as_json(), begun.options().unwrap().get()), (r#"{"b" : 1.0}"#, r#"{ "t":1e0 }"#));
    rig.gate.open(1);
    passed(call.await.unwrap(), begun.job_id());
    assert_eq!(rig.daemon.executions(begun.job_id()).await, 1);
}

#[tokio::test]
async fn bad_input_is_an_invalid_argument_that_names_the_field_and_nothing_is_submitted() {
    let mut rig = Rig::new().await;
    let request = |model: &str, message: &str, options: Option<&str>| ChatRequest {
        model: model.to_owned(),
        messages: vec![message.to_owned()],
        options: options.map(str::to_owned),
    };
    for (request, named) in [
        (request("", "{}", None), "model"),
        (request("m", "7", None), "messages"),
        (request("m", "{", None), "messages"),
        (request("m", "{}", Some("{")), "options"),
    ] {
        let status = rig.caller.chat(Request::new(request.clone())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(named), "{status}");
        let status = rig.caller.chat_events(Request::new(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert_eq!(attach(&mut rig.caller, &id("nowhere")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(rig.daemon.stats().accepted, 0);
}

#[tokio::test]
async fn a_caller_whose_time_is_over_is_told_which_job_goes_on_and_attaches() {
    let mut rig = Rig::new().await;
    let mut request = chat();
    // Long enough for the submission on a machine that has much else to do.
    request.set_timeout(Duration::from_secs(5));
    let status = rig.caller.chat(request).await.unwrap_err();
    let id = rig.gate.begun().await.job_id().clone();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::DeadlineExceeded, Some(id.as_str())));
    assert_eq!(told(status.metadata(), LAST_STATE), Some("running"));
    assert_eq!(told(status.metadata(), MAY_BE_RUNNING), Some("true"));
    rig.gate.open(1);
    passed(attach(&mut rig.caller, &id).await, &id);
    assert_eq!((rig.daemon.executions(&id).await, rig.daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_caller_that_goes_leaves_the_job_to_itself() {
    let mut rig = Rig::new().await;
    let call = call(&rig.caller);
    let first = rig.gate.begun().await.job_id().clone();
    call.abort();
    eventually("dropped", || rig.client().stats().waits.dropped == 1).await;
    rig.gate.open(1);
    passed(attach(&mut rig.caller, &first).await, &first);

    let events = rig.caller.chat_events(chat()).await.unwrap();
    let second = rig.gate.begun().await.job_id().clone();
    assert_eq!(job_id(events.metadata()), Some(second.as_str()));
    drop(events);
    eventually("dropped", || rig.client().stats().waits.dropped == 2).await;
    rig.gate.open(1);
    passed(attach(&mut rig.caller, &second).await, &second);
    assert_eq!((rig.daemon.executions(&first).await, rig.daemon.executions(&second).await), (1, 1));
    assert_eq!(rig.daemon.stats().cancelled, 0);
}

#[tokio::test]
async fn a_caller_that_goes_takes_the_job_along_where_that_is_the_policy() {
    let rig = Rig::with(|settings| settings.on_drop = DropPolicy::Cancel).await;
    let call = call(&rig.caller);
    let id = rig.gate.begun().await.job_id().clone();
    call.abort();
    rig.gate.dropped().await;
    assert_eq!(ended(&rig.daemon, id.as_str()).await["error"], "cancelled");
    assert_eq!((rig.daemon.executions(&id).await, rig.daemon.stats().cancelled), (1, 1));
}
