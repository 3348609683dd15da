use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::support::{Bench, Ended, Gate, introduced, said};

#[tokio::test]
async fn a_deadline_is_status_4_and_a_later_wait_gets_the_result() {
    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    let job_id = bench.submit("m").await;
    let ended = bench.run(&["wait", "--deadline", "1ms", job_id.as_str()]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(4), ""), "{ended:?}");
    assert_eq!(bench.run(&["submit", "--model", "m", "--deadline", "1ms", "hi"]).await.code, Some(4));
    gate.open();
    let ended = bench.run(&["wait", job_id.as_str()]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "the gate is open\n"), "{ended:?}");
    assert_eq!(bench.daemon.executions(&job_id).await, 1);
}

#[tokio::test]
async fn a_job_that_nobody_knows_is_status_3() {
    let bench = Bench::new(|builder| builder).await;
    let ended = bench.run(&["wait", "7"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_in_a_pipe_leaves_the_job_and_asks_nothing() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    let mut child = bench.foreman(&["submit", "--model", "m", "hi"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).await.unwrap();
    let job_id = introduced(&said).unwrap().to_owned();

    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    stderr.read_line(&mut rest).await.unwrap();
    assert_eq!(rest, format!("foreman: the job goes on; to wait for it again: foreman wait {job_id}\n"));
    let ended = Ended::from(child.wait_with_output().await.unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""));

    gate.open();
    assert_eq!(bench.run(&["wait", &job_id]).await.stdout, "the gate is open\n");
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_the_writing_of_a_result_that_nobody_reads() {
    use foreman_daemon::{Backend, Chat};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use tower::service_fn;

    // More than a pipe holds.
    let talker = Backend::new(service_fn(async |chat: Chat| said(&chat, &"word ".repeat(1 << 20))));
    let bench = Bench::new(|builder| builder.backend(talker)).await;
    let mut child = bench.foreman(&["submit", "--polling", "--model", "m", "hi"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}
