//! A webhook event through the receiver as a service (find the wait, verify, parse, wake) beside HMAC and serde alone, on the same bytes.
//!
//! `cargo bench --bench event`; `-- --quick` is a smoke run. Each event belongs to a wait of its own of the default client, over
//! a daemon in memory, which is not measured. The results are freed on neither side, since the receiver passes them on. Batches
//! alternate, and the figures are medians of the processor time.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;

use bytes::Bytes;
use foreman_client::{BoxError, JobStatus};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use sha2::Sha256;

use self::support::events::Events;
use self::support::figures::{Figure, Target};
use self::support::in_memory::{done, event};
use self::support::process::{cpu_time, pin};
use self::support::rounds::{median, nanos_each};
use self::support::{SECRET, quick};

/// The size of a body, its name, and the events of a batch.
const SIZES: [(usize, &str, usize); 3] = [(1 << 10, "1 KB", 2_000), (32 << 10, "32 KB", 200), (1 << 20, "1 MB", 16)];

/// It has the shape of a token, and this process has not made it.
const UNKNOWN: &str = "http://here.example/foreman/0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    pin(0);
    let events = Events::new().await?;
    let hmac = Hmac::new_from_slice(SECRET.as_bytes())?;
    let rounds = if quick() { 3 } else { 41 };
    for (bytes, size, batch) in SIZES {
        let mut times = [const { Vec::new() }; 3];
        for round in 0..rounds {
            let (requests, waits) = events.prepare(bytes, batch)?;
            let mut bodies = Vec::with_capacity(batch);
            for request in &requests {
                bodies.push(signed_body(request.clone()).await?);
            }
            // Each has the bodies in the caches of the processor in half of the rounds.
            if round % 2 == 0 {
                times[1].push(verify_and_parse(&hmac, &bodies));
            }
            times[0].push(receive(&events, requests, 204));
            drop(waits);
            if round % 2 == 1 {
                times[1].push(verify_and_parse(&hmac, &bodies));
            }
            let refused: Vec<_> = (0..batch).map(|_| event(UNKNOWN, done("1", bytes), &events.secret)).collect();
            // The bodies are not freed while the time is measured.
            let bodies: Vec<_> = refused.iter().map(|request| request.body().clone()).collect();
            times[2].push(receive(&events, refused, 404));
            drop(bodies);
        }
        let [received, alone, refused] = times.map(median);
        Figure::new(format!("event of {size}"), received, "ns").beside(alone).target(Target::Ratio(1.3)).record()?;
        Figure::new(format!("refused event of {size} (unknown token), beside an accepted one"), refused, "ns")
            .beside(received)
            .target(Target::Ratio(0.1))
            .record()?;
    }
    let stats = events.client.stats().webhooks;
    println!("{} events finished a job, {} were hints, {} late", stats.finished, stats.hints, stats.late);
    Ok(())
}

async fn signed_body(request: Request<Full<Bytes>>) -> Result<(Bytes, String), BoxError> {
    let signature = request.headers()["x-foreman-signature"].to_str()?.to_owned();
    Ok((request.into_body().collect().await?.to_bytes(), signature))
}

fn receive(events: &Events, requests: Vec<Request<Full<Bytes>>>, status: u16) -> f64 {
    let count = requests.len();
    let start = cpu_time();
    for request in requests {
        events.receive(request, status);
    }
    nanos_each(cpu_time() - start, count)
}

fn verify_and_parse(hmac: &Hmac<Sha256>, bodies: &[(Bytes, String)]) -> f64 {
    // The receiver passes the statuses on, and does not free them either.
    let mut statuses = Vec::with_capacity(bodies.len());
    let start = cpu_time();
    for (body, signature) in bodies {
        let mut bytes = [0; 32];
        let digits = signature.as_bytes().strip_prefix(b"sha256=").expect("a signature");
        for (byte, digits) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hexadecimal");
        }
        let mut hmac = hmac.clone();
        hmac.update(body);
        hmac.verify_slice(&bytes).expect("a valid signature");
        statuses.push(serde_json::from_slice::<JobStatus>(body).expect("a job"));
    }
    let time = cpu_time() - start;
    black_box(statuses);
    nanos_each(time, bodies.len())
}
