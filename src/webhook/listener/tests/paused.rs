//! Tests of the timeouts, on in-memory connections and with paused time.

use super::*;

/// Serves an in-memory connection. Returns the peer's end, the task, and the sender that stops it.
fn connect(job: &RegisteredJob, buffer: usize) -> (DuplexStream, JoinHandle<()>, watch::Sender<bool>) {
    let (ours, theirs) = duplex(buffer);
    let (stop, stopping) = watch::channel(false);
    let place = Arc::<Places>::default().place(None);
    (ours, tokio::spawn(serve_connection(theirs, job.receiver(), ListenerLimits::default(), place, stopping)), stop)
}

#[tokio::test(start_paused = true)]
async fn stalled_headers_close_connection() {
    for bytes in ["", "P", "PRI * HT", "POST / HTTP/1.1", "POST / HTTP/1.1\r\nhost: gateway\r\n"] {
        let job = RegisteredJob::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        peer.write_all(bytes.as_bytes()).await.unwrap();
        // Less than the request timeout.
        let closed = tokio::time::timeout(Duration::from_secs(9), read_to_end(&mut peer)).await;
        assert_eq!(closed.unwrap(), "", "{bytes}");
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn slow_headers_close_connection() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    for byte in job.event().into_bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            served.await.unwrap();
            assert!(!job.is_finished());
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the headers took minutes and were accepted");
}

#[tokio::test(start_paused = true)]
async fn stalled_body_is_408() {
    for body in ["", "{"] {
        let job = RegisteredJob::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        let head = format!("{}content-length: {}\r\n\r\n{body}", job.head(), EVENT.len());
        peer.write_all(head.as_bytes()).await.unwrap();
        let response = read_to_end(&mut peer).await;
        assert_status(&response, 408);
        assert_eq!(response.matches("connection: close\r\n").count(), 1, "{response}");
        assert_eq!(job.notifier.stats().refused(RefusalReason::Body), 1);
        drop(peer);
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn slow_body_is_408() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    for byte in EVENT.bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_status(&read_to_end(&mut peer).await, 408);
    served.await.unwrap();
    assert!(!job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn truncated_body_delivers_nothing() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n{{", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    drop(peer);
    served.await.unwrap();
    assert_eq!((job.notifier.stats().refused(RefusalReason::Body), job.is_finished()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn unread_response_closes_connection() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 16);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert!(job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn last_response_closes_connection() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert_status(&read_to_end(&mut peer).await, 204);
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test(start_paused = true)]
async fn idle_connection_is_closed_after_idle_timeout() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    for pause in [0, 100, 119] {
        tokio::time::sleep(SECONDS(pause)).await;
        peer.write_all(job.persistent_event().as_bytes()).await.unwrap();
        assert_status(&read_head(&mut peer).await, 204);
    }
    let before = tokio::time::Instant::now();
    assert_eq!(read_to_end(&mut peer).await, "");
    assert_eq!(before.elapsed().as_secs(), 120);
    served.await.unwrap();
}

/// The time of each request counts from its first byte, and not from the accept.
#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_timeouts() {
    let job = RegisteredJob::new();
    let second = job.persistent_event();
    for (part, closes_after, status) in [(1, 5, ""), (second.len() - 1, 10, "HTTP/1.1 408 ")] {
        let (mut peer, served, _stop) = connect(&job, 4096);
        for _ in 0..20 {
            tokio::time::sleep(SECONDS(3)).await;
            peer.write_all(second.as_bytes()).await.unwrap();
            assert_status(&read_head(&mut peer).await, 204);
        }
        tokio::time::sleep(SECONDS(60)).await;
        let before = tokio::time::Instant::now();
        peer.write_all(&second.as_bytes()[..part]).await.unwrap();
        assert!(read_to_end(&mut peer).await.starts_with(status));
        assert_eq!(before.elapsed().as_secs(), closes_after);
        drop(peer);
        served.await.unwrap();
    }
}

/// A peer that sends events and reads no response.
#[tokio::test(start_paused = true)]
async fn unread_responses_close_connection() {
    let job = RegisteredJob::new();
    let (mut peer, served, _stop) = connect(&job, 64);
    let before = tokio::time::Instant::now();
    while peer.write_all(job.persistent_event().as_bytes()).await.is_ok() {}
    served.await.unwrap();
    assert!(before.elapsed() <= SECONDS(12), "{:?}", before.elapsed());
}

/// Accepts the given connections and errors, in order.
struct Script(VecDeque<io::Result<DuplexStream>>);

impl Accept for Script {
    type Io = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        // No further connection will arrive, so no waker is needed.
        self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn refuse(mut io: DuplexStream) {
        let waker = std::task::Waker::noop();
        let _ = Pin::new(&mut io).poll_write(&mut Context::from_waker(waker), OVERLOADED);
    }
}

fn run(
    job: &RegisteredJob,
    limits: ListenerLimits,
    script: Vec<io::Result<DuplexStream>>,
) -> (WebhookListener, JoinHandle<()>) {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(accept_loop(Script(script.into()), job.receiver(), limits, stopping));
    (WebhookListener::new((Ipv4Addr::LOCALHOST, 1).into(), stop, Notifier::new()), running)
}

#[tokio::test(start_paused = true)]
async fn accept_errors_do_not_stop_listener() {
    let job = RegisteredJob::new();
    let (mut peer, theirs) = duplex(4096);
    let mut script: Vec<_> = (0..50).map(|_| Err(io::Error::other("too many open files"))).collect();
    script.push(Err(io::ErrorKind::ConnectionAborted.into()));
    script.push(Ok(theirs));
    let (listener, running) = run(&job, ListenerLimits::default(), script);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut peer).await, 204);
    drop(peer);
    listener.shutdown().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_interrupts_accept_backoff() {
    let job = RegisteredJob::new();
    let endless = (0..1000).map(|_| Err(io::Error::other("too many open files"))).collect();
    let (listener, running) = run(&job, ListenerLimits::default(), endless);
    tokio::time::sleep(Duration::from_secs(60)).await;
    listener.shutdown().await;
    running.await.unwrap();
}

/// Also if its head was complete at the moment of the eviction.
#[tokio::test(start_paused = true)]
async fn evicted_connection_completes_its_request() {
    let job = RegisteredJob::new();
    let (mut peer, theirs) = duplex(4096);
    let (_stop, stopping) = watch::channel(false);
    let places = Arc::<Places>::default();
    let place = places.place(None);
    let event = job.persistent_event();
    let (head, body) = event.split_at(event.len() - EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    assert!(places.evict(None) && !places.evict(None));
    let served = tokio::spawn(serve_connection(theirs, job.receiver(), ListenerLimits::default(), place, stopping));
    tokio::time::sleep(SECONDS(1)).await;
    peer.write_all(body.as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut peer).await, 204);
    drop(peer);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silent_connection_makes_room() {
    let job = RegisteredJob::new();
    let ((mut first, a), (mut second, b)) = (duplex(4096), duplex(4096));
    let (_listener, _) =
        run(&job, ListenerLimits { max_connections: 1, ..ListenerLimits::default() }, vec![Ok(a), Ok(b)]);
    assert_eq!(read_to_end(&mut first).await, "");
    second.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut second).await, 204);
}

#[tokio::test(start_paused = true)]
async fn requests_past_drain_timeout_are_aborted() {
    for drain_timeout in [Duration::ZERO, Duration::from_secs(5)] {
        let job = RegisteredJob::new();
        let (mut peer, theirs) = duplex(4096);
        let limits = ListenerLimits { drain_timeout, request_timeout: Duration::MAX, ..ListenerLimits::default() };
        let (listener, running) = run(&job, limits, vec![Ok(theirs)]);
        let head = format!("{}content-length: 900\r\n\r\n", job.head());
        peer.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        // The shutdown stops the listener although it is dropped after its first poll.
        let mut shutdown = Box::pin(listener.shutdown());
        let first_poll = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx))).await;
        assert!(first_poll.is_pending());
        drop(shutdown);
        listener.shutdown().await;
        running.await.unwrap();
        assert_eq!(read_to_end(&mut peer).await, "");
    }
}

/// A request of which bytes have come is completed, also if they are still in the socket.
#[tokio::test(start_paused = true)]
async fn stop_completes_requests_that_have_begun() {
    let job = RegisteredJob::new();
    let event = job.persistent_event();
    for (first, part) in [(true, 60), (false, 60), (true, event.len()), (false, event.len())] {
        for unread in [true, false] {
            let (mut peer, served, stop) = connect(&job, 4096);
            if !first {
                peer.write_all(event.as_bytes()).await.unwrap();
                assert_status(&read_head(&mut peer).await, 204);
            }
            let (head, rest) = event.split_at(part);
            peer.write_all(head.as_bytes()).await.unwrap();
            if !unread {
                tokio::time::sleep(SECONDS(1)).await;
            }
            stop.send_replace(true);
            tokio::time::sleep(SECONDS(1)).await;
            peer.write_all(rest.as_bytes()).await.unwrap_or_default();
            assert_status(&read_to_end(&mut peer).await, 204);
            drop(peer);
            served.await.unwrap();
        }
    }
}

/// It waits for its peer to close, and nothing else.
#[tokio::test(start_paused = true)]
async fn lingering_connections_make_room() {
    let job = RegisteredJob::new();
    let limits = ListenerLimits { max_connections: 50, ..ListenerLimits::default() };
    let mut script = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..51 {
        let (peer, theirs) = duplex(4096);
        peers.push(peer);
        script.push(Ok(theirs));
    }
    let mut last = peers.pop().unwrap();
    for peer in &mut peers {
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    }
    let last_accepted = script.pop();
    let (connections, accepted) = tokio::sync::mpsc::unbounded_channel();
    script.into_iter().for_each(|io: io::Result<DuplexStream>| connections.send(io.unwrap()).unwrap());
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(accept_loop(Channel(accepted), job.receiver(), limits, stopping));
    tokio::time::sleep(Duration::from_millis(100)).await;
    for peer in &mut peers {
        assert_status(&read_head(peer).await, 405);
    }
    let before = tokio::time::Instant::now();
    connections.send(last_accepted.unwrap().unwrap()).unwrap();
    last.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut last).await, 204);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// Accepts the connections that are sent to it.
struct Channel(tokio::sync::mpsc::UnboundedReceiver<DuplexStream>);

impl Accept for Channel {
    type Io = DuplexStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        self.0.poll_recv(cx).map(|io| io.ok_or_else(|| io::Error::other("no more connections")))
    }

    fn refuse(io: DuplexStream) {
        Script::refuse(io);
    }
}
