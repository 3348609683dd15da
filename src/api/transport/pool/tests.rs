use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::task::AbortHandle;

use super::*;

/// A server in this process. It answers with the path and the `Host` of the request.
#[derive(Clone, Default)]
struct Server(Arc<Connected>);

#[derive(Default)]
struct Connected {
    /// How many connections have been opened.
    count: AtomicUsize,
    open: Mutex<Vec<AbortHandle>>,
    refuses: std::sync::atomic::AtomicBool,
}

impl Server {
    fn connections(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// Connections that neither side has closed.
    async fn open(&self) -> usize {
        settle().await;
        self.0.open.lock().unwrap().iter().filter(|connection| !connection.is_finished()).count()
    }

    /// Closes all connections.
    fn close(&self) {
        self.0.open.lock().unwrap().iter().for_each(AbortHandle::abort);
    }

    fn connect(&self) -> io::Result<TokioIo<DuplexStream>> {
        if self.0.refuses.load(Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.0.count.fetch_add(1, Relaxed);
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), service_fn(async |request| Ok::<_, Infallible>(respond(&request))));
        let task = tokio::spawn(connection);
        self.0.open.lock().unwrap().push(task.abort_handle());
        Ok(TokioIo::new(ours))
    }
}

fn respond(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        "/large" => "x".repeat(10_000),
        path => format!("{path} {}", request.headers()[HOST].to_str().unwrap()),
    };
    let mut response = Response::new(Full::from(body));
    if request.uri().path() == "/last" {
        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    }
    response
}

/// The pool for the server at `base`.
fn pool(server: &Server, base: &str) -> Arc<Pool<impl Connect>> {
    let server = server.clone();
    let connector = tower::service_fn(move |_: Uri| std::future::ready(server.connect()));
    Pool::new(connector, &base.parse().unwrap()).unwrap()
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

async fn text<C: Connect>(pool: &Arc<Pool<C>>, path: &str) -> String {
    let response = Arc::clone(pool).send(get(&format!("http://daemon{path}"))).await.unwrap();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    settle().await;
    text
}

/// Lets the tasks of the connections run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_sequence_share_a_connection() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    for path in ["/a", "/b?c=d", "/"] {
        assert_eq!(text(&pool, path).await, format!("{} daemon", path.split('?').next().unwrap()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_have_a_connection_each() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    for _ in 0..2 {
        tokio::join!(text(&pool, "/a"), text(&pool, "/b"), text(&pool, "/c"));
    }
    assert_eq!((server.connections(), server.open().await), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn host_has_port_unless_it_is_the_default() {
    for (base, host) in [
        ("http://daemon", "daemon"),
        ("http://daemon:80/base", "daemon"),
        ("http://daemon:81", "daemon:81"),
        ("http://[::1]:81", "[::1]:81"),
    ] {
        assert_eq!(text(&pool(&Server::default(), base), "/a").await, format!("/a {host}"), "{base}");
    }
}

#[tokio::test(start_paused = true)]
async fn connection_closed_while_idle_is_replaced() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    // The client has seen the end of the first connection, and not yet that of the second one.
    for seen in [true, false] {
        text(&pool, "/a").await;
        server.close();
        if seen {
            assert_eq!(server.open().await, 0);
        }
        assert_eq!(text(&pool, "/a").await, "/a daemon");
        server.close();
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test(start_paused = true)]
async fn connection_of_unread_body_is_closed() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    let response = Arc::clone(&pool).send(get("http://daemon/large")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // Its body is in flight.
    assert_eq!(text(&pool, "/a").await, "/a daemon");
    assert_eq!((server.connections(), server.open().await), (2, 2));
    drop(response);
    assert_eq!(server.open().await, 1);
    text(&pool, "/a").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn last_response_of_a_connection_is_read() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    for connections in 1..3 {
        assert_eq!(text(&pool, "/last").await, "/last daemon");
        assert_eq!((server.connections(), server.open().await), (connections, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    for _ in 0..2 {
        tokio::join!(text(&pool, "/a"), text(&pool, "/b"));
        tokio::time::sleep(IDLE / 2).await;
        // This one is used, and the other is not.
        text(&pool, "/a").await;
        tokio::time::sleep(IDLE / 2 + Duration::from_secs(1)).await;
        assert_eq!(server.open().await, 1);
        tokio::time::sleep(IDLE).await;
        assert_eq!(server.open().await, 0);
        assert!(pool.lock().reaper.is_none());
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test(start_paused = true)]
async fn body_in_flight_is_not_idle() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    let response = Arc::clone(&pool).send(get("http://daemon/large")).await.unwrap();
    tokio::time::sleep(IDLE * 3).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn drop_of_pool_closes_connections_and_ends_tasks() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    text(&pool, "/a").await;
    drop(pool);
    assert_eq!(server.open().await, 0);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[test]
fn reaper_of_a_stopped_runtime_is_replaced() {
    let server = Server::default();
    let pool = pool(&server, "http://daemon");
    for connections in 1..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            text(&pool, "/a").await;
            tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
            assert_eq!(server.open().await, 0);
            text(&pool, "/a").await;
        });
        assert_eq!(server.connections(), 2 * connections);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_connect_is_unsent() {
    let server = Server::default();
    server.0.refuses.store(true, Relaxed);
    let error = Arc::clone(&pool(&server, "http://daemon")).send(get("http://daemon/a")).await.unwrap_err();
    let error = Error::from_boxed(error);
    assert!(error.is_connect() && error.is_safe_to_resubmit(), "{error:?}");
}

#[test]
fn other_origins_are_not_served() {
    let pool = pool(&Server::default(), "http://daemon:81/base");
    for (url, serves) in [
        ("http://daemon:81/a", true),
        ("http://daemon:82/a", false),
        ("http://daemon/a", false),
        ("https://daemon:81/a", false),
        ("http://other:81/a", false),
        ("/a", false),
    ] {
        assert_eq!(pool.serves(&get(url)), serves, "{url}");
    }
}
