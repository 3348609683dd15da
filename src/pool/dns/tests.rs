use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tower::discover::Change;

use super::resolve::{Resolve, Resolved, Resolving};
use super::*;
use crate::{BoxError, Client};

type Changed = Result<Change<String, Client>, BoxError>;

/// The daemons and the TTL, or a failure.
type Outcome = Option<(&'static [&'static str], u64)>;

/// The outcomes of lookups.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Outcome>>>);

impl Resolve for Script {
    fn resolve(&self) -> Resolving {
        let next = self.0.lock().unwrap().pop_front().expect("no further lookup");
        Box::pin(ready(match next {
            Some((names, ttl)) => {
                let urls = names.iter().map(|name| format!("http://{name}")).collect();
                Ok(Resolved { urls, ttl: Duration::from_secs(ttl) })
            }
            None => Err("no response".into()),
        }))
    }
}

async fn next(stream: &mut (impl Stream<Item = Changed> + Unpin)) -> String {
    match poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await.unwrap() {
        Ok(Change::Insert(url, client)) => {
            assert_eq!(client.api().base_url().as_str(), url);
            format!("+{}", url.trim_start_matches("http://"))
        }
        Ok(Change::Remove(url)) => format!("-{}", url.trim_start_matches("http://")),
        Err(error) => error.to_string(),
    }
}

async fn connect(url: String) -> Result<Client, Error> {
    Client::builder(url).polling().build().await
}

#[tokio::test(start_paused = true)]
async fn name_is_resolved_again_when_its_records_expire() {
    let script = Script::default();
    let lookups = [(&["a"] as &[_], 30), (&["a"], 0), (&["a", "b"], 86_400), (&["b"], 10), (&[], 10)];
    script.0.lock().unwrap().extend(lookups.map(Some));
    let start = Instant::now();
    let mut changes = DnsDiscovery::new(Box::new(script), connect);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push((next(&mut changes).await, start.elapsed().as_secs()));
    }
    let seen: Vec<_> = seen.iter().map(|(change, at)| (change.as_str(), *at)).collect();
    assert_eq!(seen, [("+a", 0), ("+b", 31), ("-a", 331), ("-b", 341)]);
}

#[tokio::test(start_paused = true)]
async fn failed_lookup_keeps_the_daemons_and_is_tried_again() {
    let script = Script::default();
    script.0.lock().unwrap().extend([Some((&["a"] as &[_], 60)), None, None, Some((&["a", "b"], 60))]);
    let start = Instant::now();
    let mut changes = DnsDiscovery::new(Box::new(script), connect);
    for (change, at) in [("+a", 0), ("no response", 60), ("no response", 65), ("+b", 70)] {
        assert_eq!((next(&mut changes).await.as_str(), start.elapsed().as_secs()), (change, at));
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_cannot_be_built_is_tried_again() {
    let script = Script::default();
    script.0.lock().unwrap().extend([Some((&["a"] as &[_], 60)); 2]);
    let mut attempts = 0;
    let flaky = |url: String| {
        attempts += 1;
        let fails = attempts == 1;
        async move { if fails { Err(Error::invalid("webhooks", "not now")) } else { connect(url).await } }
    };
    let start = Instant::now();
    let mut changes = DnsDiscovery::new(Box::new(script), flaky);
    assert_eq!(next(&mut changes).await, "invalid webhooks: not now");
    assert_eq!((next(&mut changes).await.as_str(), start.elapsed().as_secs()), ("+a", 5));
}

#[tokio::test(start_paused = true)]
async fn replaced_daemons_are_added_before_they_are_removed() {
    let script = Script::default();
    script.0.lock().unwrap().extend([Some((&["a"] as &[_], 1)), Some((&["b"], 1))]);
    let mut changes = DnsDiscovery::new(Box::new(script), connect);
    for change in ["+a", "+b", "-a"] {
        assert_eq!(next(&mut changes).await, change);
    }
}

#[tokio::test]
async fn empty_name_is_refused() {
    let error = Dns::addresses("", 1).discover(connect).unwrap_err();
    assert_eq!(error.to_string(), "invalid name: must not be empty");
}

/// A name server on loopback: `gpu.test` has two addresses, and `_foreman._tcp.test` has two targets. No other name exists.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let response = respond(&buffer[..length]);
            let _ = socket.send_to(&response, peer).await;
        }
    });
    address
}

/// RFC 1035, 4.1.
fn respond(query: &[u8]) -> Vec<u8> {
    let (mut name, mut at) = (String::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let (kind, end) = (u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5);
    let target = |port: u16, label: &str| {
        let mut data = vec![0, 1, 0, 1];
        data.extend(port.to_be_bytes());
        for label in [label, "test"] {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend(label.as_bytes());
        }
        data.push(0);
        data
    };
    let answers: Vec<Vec<u8>> = match (name.to_lowercase().as_str(), kind) {
        ("gpu.test.", 1) => vec![vec![10, 0, 0, 1], vec![10, 0, 0, 2]],
        ("_foreman._tcp.test.", 33) => vec![target(1, "a"), target(2, "b")],
        _ => Vec::new(),
    };
    // NXDOMAIN if there is no answer.
    let mut response = vec![query[0], query[1], 0x85, if answers.is_empty() { 0x83 } else { 0x80 }, 0, 1, 0];
    response.extend([u8::try_from(answers.len()).unwrap(), 0, 0, 0, 0]);
    response.extend(&query[12..end]);
    for data in answers {
        response.extend([0xc0, 12]);
        response.extend(kind.to_be_bytes());
        response.extend([0, 1, 0, 0, 0, 60]);
        response.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        response.extend(data);
    }
    response
}

#[tokio::test]
async fn addresses_and_services_are_resolved_at_a_name_server() {
    let server = name_server().await;
    for (names, expected) in [
        (Dns::addresses("gpu.test.", 7), ["+10.0.0.1:7", "+10.0.0.2:7"]),
        (Dns::services("_foreman._tcp.test."), ["+a.test:1", "+b.test:2"]),
    ] {
        let mut changes = names.name_server(server).discover(connect).unwrap();
        let mut found = [next(&mut changes).await, next(&mut changes).await];
        found.sort();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn name_that_does_not_exist_has_no_daemons() {
    let names = Names::Addresses { name: "nothing.test.".to_owned(), port: 7 };
    let resolver = resolve::HickoryResolver::new(names, Some(name_server().await)).unwrap();
    let resolved = resolver.resolve().await.unwrap();
    assert!(resolved.urls.is_empty());
}
