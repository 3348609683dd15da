//! Server-sent events of a job.

use axum::body::to_bytes;
use foreman_client::axum08::{JOB_ID, events};
use foreman_client::wait::Progress;
use tower::ServiceExt as _;

use crate::support::{bounded_paused, polling_wait, request};

#[tokio::test(start_paused = true)]
async fn events_have_states_positions_and_result() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let progress = Progress::new(&request.submission(), wait.oneshot(request));
    let respond = async {
        daemon.next_post().await.accept("7");
        for position in [2, 2, 1] {
            let body = format!(r#"{{"job_id":"7","state":"queued","position":{position}}}"#);
            daemon.next_get().await.respond(200, body);
        }
        for state in ["running", "done"] {
            daemon.next_get().await.respond_state(state);
        }
    };
    let read = async {
        let response = events(progress).await.unwrap();
        assert_eq!(response.headers()[JOB_ID], "7");
        to_bytes(response.into_body(), 10_000).await.unwrap()
    };
    let (body, ()) = bounded_paused(async { tokio::join!(read, respond) }).await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let events: Vec<_> = body.split("\n\n").filter(|event| event.starts_with("event: ")).collect();
    assert_eq!(
        events[..4],
        [
            "event: state\ndata: {\"position\":2,\"state\":\"queued\"}",
            "event: state\ndata: {\"position\":1,\"state\":\"queued\"}",
            "event: state\ndata: {\"state\":\"running\"}",
            "event: state\ndata: {\"state\":\"done\"}",
        ]
    );
    assert!(events[4].starts_with("event: result\ndata: {") && events.len() == 5, "{body}");
}
