mod name_server;

use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use tokio::time::Instant;
use tower::discover::Change;

use self::name_server::{Answer, Answers, By, name_server, target};
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

/// `gpu.test` has two addresses, and `_foreman._tcp.test` has two targets. No other name exists.
fn two_daemons(name: &str, kind: u16, _: By) -> Answer {
    match (name, kind) {
        ("gpu.test.", name_server::A) => Answer::Records(vec![vec![10, 0, 0, 1], vec![10, 0, 0, 2]]),
        ("_foreman._tcp.test.", name_server::SRV) => Answer::Records(vec![target(1, "a.test"), target(2, "b.test")]),
        _ => Answer::NoSuchName,
    }
}

/// What a name server with these answers resolves a name to.
async fn resolved(names: &str, answer: Answers) -> Result<Vec<String>, BoxError> {
    let names = match names.starts_with('_') {
        true => Names::Services { name: names.to_owned() },
        false => Names::Addresses { name: names.to_owned(), port: 7 },
    };
    let resolver = resolve::HickoryResolver::new(names, Some(name_server(answer).await))?;
    let mut urls: Vec<_> = resolver.resolve().await?.urls.into_iter().collect();
    urls.sort();
    Ok(urls)
}

#[tokio::test]
async fn addresses_and_services_are_resolved_at_a_name_server() {
    let server = name_server(two_daemons).await;
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
async fn name_without_records_has_no_daemons() {
    let no_data: Answers = |_, _, _| Answer::NoData;
    for (name, answer) in
        [("nothing.test.", two_daemons as Answers), ("gpu.test.", no_data), ("_a._tcp.test.", no_data)]
    {
        assert_eq!(resolved(name, answer).await.unwrap(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn name_without_a_records_has_its_aaaa_records() {
    let only_v6 = resolved("gpu.test.", |_, kind, _| match kind {
        name_server::AAAA => Answer::Records(vec![[0; 15].into_iter().chain([1]).collect()]),
        _ => Answer::NoData,
    });
    assert_eq!(only_v6.await.unwrap(), ["http://[::1]:7"]);
    assert_eq!(resolved("10.0.0.9", |_, _, _| Answer::ServerFailure).await.unwrap(), ["http://10.0.0.9:7"]);
}

/// Otherwise a server that has no A records at the moment would remove all daemons.
#[tokio::test]
async fn failure_for_one_type_is_a_failure_of_the_lookup() {
    let cases: [(&str, Answers); 6] = [
        ("gpu.test.", |_, kind, _| if kind == name_server::A { Answer::ServerFailure } else { Answer::NoData }),
        ("gpu.test.", |_, kind, _| if kind == name_server::A { Answer::NoData } else { Answer::ServerFailure }),
        ("gpu.test.", |_, kind, _| if kind == name_server::A { Answer::Referral } else { Answer::NoData }),
        ("gpu.test.", |_, kind, _| if kind == name_server::A { Answer::Truncated } else { Answer::NoData }),
        ("_a._tcp.test.", |_, _, _| Answer::ServerFailure),
        ("_a._tcp.test.", |_, _, _| Answer::Truncated),
    ];
    for (at, (name, answer)) in cases.into_iter().enumerate() {
        let resolved = resolved(name, answer).await;
        assert!(resolved.is_err(), "{at}: {resolved:?}");
    }
}

#[tokio::test]
async fn truncated_answer_is_requested_again_by_tcp() {
    for (name, expected) in [
        ("gpu.test.", ["http://10.0.0.1:7", "http://10.0.0.2:7"]),
        ("_foreman._tcp.test.", ["http://a.test:1", "http://b.test:2"]),
    ] {
        let found = resolved(name, |name, kind, by| match by {
            By::Udp if kind != name_server::AAAA => Answer::Truncated,
            _ => two_daemons(name, kind, by),
        });
        assert_eq!(found.await.unwrap(), expected);
    }
}

/// The search list goes on after a failure, which is no absence.
#[tokio::test]
async fn failure_for_one_name_of_the_search_list_is_a_failure_of_the_lookup() {
    let cases: [(&str, Answers, Option<&str>); 3] = [
        ("gpu.test", |name, _, _| if name == "gpu.test." { Answer::ServerFailure } else { Answer::NoSuchName }, None),
        ("gpu", |name, _, _| if name == "gpu.a.test." { Answer::ServerFailure } else { Answer::NoSuchName }, None),
        (
            "gpu",
            |name, kind, by| match name {
                "gpu.a.test." => Answer::ServerFailure,
                "gpu.b.test." => two_daemons("gpu.test.", kind, by),
                _ => Answer::NoSuchName,
            },
            Some("http://10.0.0.1:7"),
        ),
    ];
    for (name, answer, expected) in cases {
        let server = resolve::server(name_server(answer).await);
        let domains = ["a.test.", "b.test."].map(|domain| domain.parse().unwrap()).to_vec();
        let config = ResolverConfig::from_parts(None, domains, vec![server]);
        let names = Names::Addresses { name: name.to_owned(), port: 7 };
        let resolver = resolve::HickoryResolver::with_config(names, config, ResolverOpts::default()).unwrap();
        let urls = resolver.resolve().await.map(|resolved| resolved.urls);
        match expected {
            Some(url) => assert!(urls.unwrap().contains(url), "{name}"),
            None => assert!(urls.is_err(), "{name}: {urls:?}"),
        }
    }
}
