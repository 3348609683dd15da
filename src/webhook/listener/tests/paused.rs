//! A pipe and paused time, where timers decide.

use super::*;

/// A connection that is served, and what stops it.
fn connect(job: &Waiting, buffer: usize) -> (DuplexStream, JoinHandle<()>, watch::Sender<bool>) {
    let (ours, theirs) = duplex(buffer);
    let (stop, stopping) = watch::channel(false);
    (ours, tokio::spawn(serve_connection(theirs, job.receiver(), Limits::default(), stopping)), stop)
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_end_the_connection() {
    for begin in ["", "P", "PRI * HT", "POST / HTTP/1.1", "POST / HTTP/1.1\r\nhost: gateway\r\n"] {
        let job = Waiting::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        peer.write_all(begin.as_bytes()).await.unwrap();
        // Sooner than a whole request may take, by the paused clock.
        let closed = tokio::time::timeout(Duration::from_secs(9), rest(&mut peer)).await;
        assert_eq!(closed.unwrap(), "", "{begin}");
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_byte_a_second_end_the_connection() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    for byte in job.event().into_bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            served.await.unwrap();
            assert!(!job.is_finished());
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("a head that took minutes was read");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    for body in ["", "{"] {
        let job = Waiting::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        let head = format!("{}content-length: {}\r\n\r\n{body}", job.head(), EVENT.len());
        peer.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(&mut peer).await;
        assert_status(&answer, 408);
        assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
        assert_eq!(job.notifier.stats().refused(RefusalReason::Body), 1);
        drop(peer);
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_byte_a_second_is_a_408() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    for byte in EVENT.bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_status(&rest(&mut peer).await, 408);
    served.await.unwrap();
    assert!(!job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_delivers_nothing() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n{{", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    drop(peer);
    served.await.unwrap();
    assert_eq!((job.notifier.stats().refused(RefusalReason::Body), job.is_finished()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_take_its_answer_is_cut_off() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 16);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert!(job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_hang_up_is_cut_off() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert_status(&rest(&mut peer).await, 204);
}

/// A source of connections that does as it is told.
struct Script(VecDeque<io::Result<DuplexStream>>);

impl Accept for Script {
    type Io = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        // Nothing more will ever come, so there is nobody to wake.
        self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn refuse(mut io: DuplexStream) {
        let waker = std::task::Waker::noop();
        let _ = Pin::new(&mut io).poll_write(&mut Context::from_waker(waker), OVERLOADED);
    }
}

fn run(job: &Waiting, limits: Limits, script: Vec<io::Result<DuplexStream>>) -> (WebhookListener, JoinHandle<()>) {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(accept_loop(Script(script.into()), job.receiver(), limits, stopping));
    (WebhookListener::new((Ipv4Addr::LOCALHOST, 1).into(), stop), running)
}

#[tokio::test(start_paused = true)]
async fn errors_of_accept_do_not_end_the_listener() {
    let job = Waiting::new();
    let (mut peer, theirs) = duplex(4096);
    let mut script: Vec<_> = (0..50).map(|_| Err(io::Error::other("too many open files"))).collect();
    script.push(Err(io::ErrorKind::ConnectionAborted.into()));
    script.push(Ok(theirs));
    let (listener, running) = run(&job, Limits::default(), script);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&rest(&mut peer).await, 204);
    drop(peer);
    listener.shutdown().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_an_error_does_not_keep_the_listener_from_stopping() {
    let job = Waiting::new();
    let endless = (0..1000).map(|_| Err(io::Error::other("too many open files"))).collect();
    let (listener, running) = run(&job, Limits::default(), endless);
    tokio::time::sleep(Duration::from_secs(60)).await;
    listener.shutdown().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_cap_gets_the_static_answer() {
    let job = Waiting::new();
    let ((_first, a), (mut second, b)) = (duplex(4096), duplex(4096));
    let (_listener, _) = run(&job, Limits { max_connections: 1, ..Limits::default() }, vec![Ok(a), Ok(b)]);
    assert_eq!(rest(&mut second).await.as_bytes(), OVERLOADED);
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_time_is_aborted() {
    for drain_timeout in [Duration::ZERO, Duration::from_secs(5)] {
        let job = Waiting::new();
        let (mut peer, theirs) = duplex(4096);
        let limits = Limits { drain_timeout, request_timeout: Duration::MAX, ..Limits::default() };
        let (listener, running) = run(&job, limits, vec![Ok(theirs)]);
        let head = format!("{}content-length: 900\r\n\r\n", job.head());
        peer.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        // Dropped after its first poll, it has still stopped the listener.
        let mut shutdown = Box::pin(listener.shutdown());
        let at_once = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx))).await;
        assert!(at_once.is_pending());
        drop(shutdown);
        listener.shutdown().await;
        running.await.unwrap();
        assert_eq!(rest(&mut peer).await, "");
    }
}
