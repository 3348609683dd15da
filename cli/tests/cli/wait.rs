use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

#[cfg(unix)]
use crate::support::send_signal;
use crate::support::{Gate, Outcome, TestDaemon, chat_answer, foreman, printed_job_id, run, serve};

#[tokio::test]
async fn deadline_exits_with_4_and_later_wait_gets_result() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let job_id = daemon.submit("m").await;
    let outcome = daemon.run(&["wait", "--deadline", "1ms", job_id.as_str()]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:?}");
    assert_eq!(daemon.run(&["submit", "--model", "m", "--deadline", "1ms", "hi"]).await.code, Some(4));
    gate.open();
    let outcome = daemon.run(&["wait", job_id.as_str()]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "the gate is open\n"), "{outcome:?}");
    assert_eq!(daemon.handle.executions(&job_id).await, 1);
}

#[tokio::test]
async fn unknown_job_exits_with_5_and_unreachable_daemon_with_3() {
    let daemon = TestDaemon::new(|builder| builder).await;
    for command in ["wait", "status", "cancel"] {
        let outcome = daemon.run(&[command, "7"]).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""), "{outcome:?}");
        // `wait` would retry for two minutes.
        if command != "wait" {
            let unreachable = run(foreman(&[command, "--url", "http://127.0.0.1:1", "7"])).await;
            assert_eq!((unreachable.code, unreachable.stdout.as_str()), (Some(3), ""), "{unreachable:?}");
        }
    }
    let other = serve(axum::Router::new()).await;
    for args in [&["models"][..], &["jobs"], &["submit", "--model", "m", "hi"]] {
        let outcome = run(foreman(&[args, &["--url", &format!("http://{other}")]].concat())).await;
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn interrupt_without_terminal_leaves_job_running() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let mut child = daemon.foreman(&["submit", "--model", "m", "hi"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    let job_id = printed_job_id(&line).unwrap().to_owned();

    send_signal(&child, nix::sys::signal::Signal::SIGINT);
    let mut rest = String::new();
    stderr.read_line(&mut rest).await.unwrap();
    assert_eq!(
        rest,
        format!(
            "foreman: the job was not cancelled; resume with: foreman wait --url {} {job_id}\n",
            daemon.handle.url()
        )
    );
    let outcome = Outcome::from(child.wait_with_output().await.unwrap());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(130), ""));

    gate.open();
    assert_eq!(daemon.run(&["wait", &job_id]).await.stdout, "the gate is open\n");
}

#[cfg(unix)]
#[tokio::test]
async fn interrupt_ends_blocked_write_of_result() {
    use foreman_daemon::{Backend, Chat};
    use tower::service_fn;

    // Larger than the buffer of a pipe.
    let backend = Backend::new(service_fn(async |chat: Chat| chat_answer(&chat, &"word ".repeat(1 << 20))));
    let daemon = TestDaemon::new(|builder| builder.backend(backend)).await;
    let mut child = daemon.foreman(&["submit", "--polling", "--model", "m", "hi"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    send_signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}
