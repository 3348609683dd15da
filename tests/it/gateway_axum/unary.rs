use std::time::Duration;

use foreman_client::DropPolicy;

use super::{CHAT, Rig, passed, problem};
use crate::eventually::eventually;
use crate::raw::{ended, read};

#[tokio::test]
async fn a_chat_is_answered_with_the_result_and_the_id() {
    let rig = Rig::new().await;
    let body = r#"{"model":"m","messages":[{"b" : 1.0}],"options":{ "t":1e0 },"think":"high","stream":true,"x":1}"#;
    let caller = rig.send("/chat", body).await;
    let chat = rig.gate.begun().await;
    // What the caller said reached the model as it was.
    assert_eq!((chat.model(), chat.messages()[0].as_json()), ("m", r#"{"b" : 1.0}"#));
    assert_eq!((chat.options().unwrap().get(), chat.think().unwrap().get()), (r#"{ "t":1e0 }"#, r#""high""#));
    // The daemon's events come in by the same server: queued and running.
    eventually("delivered", || rig.daemon.stats().webhooks_delivered == 2).await;
    rig.gate.open(1);
    let answer = read(caller).await;
    passed(&answer, chat.job_id());
    assert_eq!(answer.header("location"), Some(format!("/jobs/{}", chat.job_id()).as_str()));
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(rig.daemon.executions(chat.job_id()).await, 1);
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field_and_nothing_is_submitted() {
    let rig = Rig::new().await;
    for (body, named) in [
        (r#"{"model":"","messages":[]}"#, "model"),
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":"m","messages":[7]}"#, "messages"),
        (r#"{"model":"m","messages":["hi"]}"#, "messages"),
        (r#"{"model":"m","messages":"hi"}"#, "messages"),
        (r#"{"model":7,"messages":[]}"#, "model"),
        ("{", "body"),
    ] {
        for path in ["/chat", "/chat/events"] {
            let problem = problem(&read(rig.send(path, body).await).await, 400);
            assert!(problem["detail"].as_str().unwrap().contains(named), "{body}: {problem}");
        }
    }
    assert_eq!(rig.daemon.stats().accepted, 0);
}

#[tokio::test]
async fn a_job_that_is_not_known_is_not_found() {
    let rig = Rig::new().await;
    let id = crate::raw::id("nowhere");
    assert_eq!(problem(&rig.get(&id).await, 404)["job_id"], "nowhere");
}

#[tokio::test]
async fn a_caller_whose_time_is_over_is_told_which_job_goes_on_and_attaches() {
    // Long enough for the submission on a machine that has much else to do.
    let rig = Rig::with(|settings| settings.deadline = Duration::from_secs(3)).await;
    let answer = read(rig.send("/chat", CHAT).await).await;
    let id = rig.gate.begun().await.job_id().clone();
    let told = problem(&answer, 504);
    assert_eq!((&told["job_id"], &told["last_state"]), (&id.as_str().into(), &"running".into()));
    assert_eq!(told["may_be_running"], true);
    assert_eq!(answer.header("location"), Some(format!("/jobs/{id}").as_str()));
    rig.gate.open(1);
    passed(&rig.get(&id).await, &id);
    assert_eq!((rig.daemon.executions(&id).await, rig.daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_caller_that_goes_leaves_the_job_to_itself() {
    let rig = Rig::new().await;
    for (gone, path) in [(1, "/chat"), (2, "/chat/events")] {
        let caller = rig.send(path, CHAT).await;
        let id = rig.gate.begun().await.job_id().clone();
        drop(caller);
        eventually("dropped", || rig.client().stats().waits.dropped == gone).await;
        rig.gate.open(1);
        passed(&rig.get(&id).await, &id);
        assert_eq!(rig.daemon.executions(&id).await, 1);
    }
    assert_eq!(rig.daemon.stats().cancelled, 0);
}

#[tokio::test]
async fn a_caller_that_goes_takes_the_job_along_where_that_is_the_policy() {
    let rig = Rig::with(|settings| settings.on_drop = DropPolicy::Cancel).await;
    for path in ["/chat", "/chat/events"] {
        let caller = rig.send(path, CHAT).await;
        let id = rig.gate.begun().await.job_id().clone();
        drop(caller);
        rig.gate.dropped().await;
        assert_eq!(ended(&rig.daemon, id.as_str()).await["error"], "cancelled");
        assert_eq!(rig.daemon.executions(&id).await, 1);
    }
    assert_eq!(rig.daemon.stats().cancelled, 2);
}
