use foreman_client::JobId;
use tokio::io::AsyncReadExt as _;

use super::{CHAT, Rig, passed, problem};
use crate::eventually::eventually;
use crate::raw::{read, send};

#[tokio::test]
async fn over_the_jobs_in_flight_callers_are_turned_away_and_nothing_is_submitted() {
    let rig = Rig::with(|settings| settings.jobs = 1).await;
    let first = rig.send("/chat", CHAT).await;
    let id = rig.gate.begun().await.job_id().clone();
    for path in ["/chat", "/chat/events"] {
        let answer = read(rig.send(path, CHAT).await).await;
        let problem = problem(&answer, 503);
        assert_eq!((&problem["title"], &problem["may_be_running"]), (&"overloaded".into(), &false.into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("foreman-job-id"), None);
    }
    assert_eq!(rig.daemon.stats().accepted, 1);
    rig.gate.open(1);
    passed(&read(first).await, &id);

    // Its place is free again.
    let next = rig.send("/chat", CHAT).await;
    let id = rig.gate.begun().await.job_id().clone();
    rig.gate.open(1);
    passed(&read(next).await, &id);
    assert_eq!(rig.daemon.stats().executions, 2);
}

#[tokio::test]
async fn over_the_requests_callers_are_turned_away_whatever_they_ask_and_events_are_not() {
    let rig = Rig::with(|settings| settings.requests = 1).await;
    let first = rig.send("/chat", CHAT).await;
    let id = rig.gate.begun().await.job_id().clone();
    let answer = rig.get(&JobId::new("7").unwrap()).await;
    assert_eq!(problem(&answer, 503)["title"], "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.header("x-request-id").is_some());
    eventually("delivered", || rig.daemon.stats().webhooks_delivered == 2).await;
    rig.gate.open(1);
    passed(&read(first).await, &id);
    assert_eq!(rig.daemon.executions(&id).await, 1);
}

#[tokio::test(start_paused = true)]
async fn peers_that_stop_in_the_middle_of_a_request_are_let_go() {
    let rig = Rig::new().await;
    // The paused clock jumps to the time-outs; without them nothing of this would ever return.
    let mut head = send(rig.gateway.address(), "POST /chat HT").await;
    let _ = head.read_to_end(&mut Vec::new()).await;
    let body = send(rig.gateway.address(), "POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{").await;
    assert_eq!(read(body).await.status, 408);
    assert_eq!(rig.daemon.stats().accepted, 0);
}
