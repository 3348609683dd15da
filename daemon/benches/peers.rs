//! Peers that hold connections or memory, and what they cost everybody else.
//!
//! ```text
//! cargo bench -p foreman-daemon --bench peers             # 5,000 peers of each kind, 45 s each
//! cargo bench -p foreman-daemon --bench peers -- --quick  # 200 peers, 3 s each: a smoke run
//! ```
//!
//! The daemon is a process of its own with default settings. The peers come from ten addresses. An honest client, on a thread of
//! its own, makes one request after the other, each on a new connection. The table has its latency beside that without peers, in
//! the same run. All share the processors of one machine, so that the latency contains what the peers themselves take.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops if it fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use foreman_daemon::Daemon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The argument of the daemon's process.
const DAEMON: &str = "--daemon";

/// The peers' addresses are 127.0.1.1 and so on.
const ADDRESSES: u8 = 10;

/// How long the honest client waits for a response.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    None,
    /// Sends nothing.
    Silent,
    /// Sends the half of a head.
    HalfHead,
    /// Sends a byte of a head each second.
    SlowHead,
    /// Sends one request after the other, and reads no response.
    NeverReads,
    /// Sends a body without end, as fast as it is read.
    EndlessBody,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::None, "none"),
    (Kind::Silent, "silent"),
    (Kind::HalfHead, "half a head"),
    (Kind::SlowHead, "a byte a second"),
    (Kind::NeverReads, "never reads"),
    (Kind::EndlessBody, "body without end"),
];

fn main() {
    if std::env::args().any(|argument| argument == DAEMON) {
        return daemon();
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (peers, span) = if quick { (200, 3) } else { (5_000, 45) };
    rlimit::increase_nofile_limit(2 * peers as u64).unwrap();
    println!(
        "| {peers} peers | connected | refused or closed | open at the end | longest open, s | honest p50, ms | p99, ms | p99 × | failed | peak memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut baseline = None;
    for (kind, name) in KINDS {
        let (mut child, address) = start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (peers_seen, honest) = runtime.block_on(attack(kind, address, peers, Duration::from_secs(span)));
        let memory = peak_memory(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let (p50, p99) = (quantile(&honest.times, 0.5), quantile(&honest.times, 0.99));
        let ratio = p99 / *baseline.get_or_insert(p99);
        println!(
            "| {name} | {} | {} | {} | {:.1} | {p50:.2} | {p99:.2} | {ratio:.1} | {} of {} | {memory:.0} |",
            peers_seen.connected.load(Relaxed),
            peers_seen.closed.load(Relaxed),
            peers_seen.connected.load(Relaxed).saturating_sub(peers_seen.closed.load(Relaxed)),
            peers_seen.longest.load(Relaxed) as f64 / 1e3,
            honest.failed,
            honest.times.len(),
        );
    }
}

/// Runs the daemon until its standard input closes.
fn daemon() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = runtime.block_on(Daemon::builder().store(folder.path().join("jobs.db")).start()).unwrap();
    println!("{}", daemon.local_addr());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn start() -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(DAEMON)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

#[derive(Default)]
struct Peers {
    connected: AtomicUsize,
    /// By the daemon.
    closed: AtomicUsize,
    /// The longest time that a connection was open which the daemon has closed, in milliseconds.
    longest: AtomicU64,
}

#[derive(Default)]
struct Honest {
    /// Milliseconds. A request that fails counts with all of its time.
    times: Vec<f64>,
    failed: usize,
}

async fn attack(kind: Kind, daemon: SocketAddr, peers: usize, span: Duration) -> (Arc<Peers>, Honest) {
    let seen = Arc::<Peers>::default();
    let mut tasks = JoinSet::new();
    if kind != Kind::None {
        for number in 0..peers {
            let seen = Arc::clone(&seen);
            tasks.spawn(async move { peer(kind, number, daemon, &seen).await });
        }
    }
    // On a thread of its own, since the peers keep this one busy.
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(daemon, span))
    });
    sleep(span).await;
    tasks.shutdown().await;
    (seen, client.join().unwrap())
}

/// Makes one request after the other.
async fn ask(daemon: SocketAddr, span: Duration) -> Honest {
    let (mut honest, until) = (Honest::default(), Instant::now() + span);
    while Instant::now() < until {
        let start = Instant::now();
        let answered = timeout(PATIENCE, request(daemon)).await;
        honest.times.push(start.elapsed().as_secs_f64() * 1e3);
        honest.failed += usize::from(!matches!(answered, Ok(Ok(true))));
        sleep(Duration::from_millis(5)).await;
    }
    honest
}

async fn request(daemon: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(daemon).await?;
    stream.write_all(b"GET /jobs?limit=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response.starts_with(b"HTTP/1.1 200"))
}

async fn peer(kind: Kind, number: usize, daemon: SocketAddr, seen: &Peers) {
    let address = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(number % usize::from(ADDRESSES)).unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.into(), 0)).unwrap();
    let Ok(mut stream) = socket.connect(daemon).await else { return };
    seen.connected.fetch_add(1, Relaxed);
    let start = Instant::now();
    let _ = behave(kind, &mut stream).await;
    seen.closed.fetch_add(1, Relaxed);
    seen.longest.fetch_max(u64::try_from(start.elapsed().as_millis()).unwrap(), Relaxed);
}

/// Returns when the daemon has closed the connection.
async fn behave(kind: Kind, stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    match kind {
        Kind::None | Kind::Silent => {}
        Kind::HalfHead => stream.write_all(b"GET /jobs HT").await?,
        Kind::SlowHead => {
            for byte in b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain([b'x'].iter().cycle()) {
                stream.write_all(&[*byte]).await?;
                if timeout(Duration::from_secs(1), stream.read(&mut rest)).await.is_ok() {
                    return Ok(());
                }
            }
        }
        Kind::NeverReads => loop {
            stream.write_all(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)).await?;
        },
        Kind::EndlessBody => {
            let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let chunk = [b"8000\r\n".as_slice(), &[b' '; 0x8000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    let at = (0..times.len()).find(|at| (at + 1) as f64 >= share * times.len() as f64);
    at.and_then(|at| times.get(at)).copied().unwrap_or(f64::NAN)
}

/// In MiB, by `/proc`. Not a number on other systems.
fn peak_memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
