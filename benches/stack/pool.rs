use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, Notifier, Pool};

use super::overhead::{Calls, calls};
use super::support::figures::{Figure, Target};
use super::support::in_memory::InMemory;
use super::support::rounds::median;
use super::support::{SECRET, quick};

pub(super) async fn measure() -> Result<(), BoxError> {
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let notifier = Notifier::new();
        let daemon = InMemory::default();
        daemon.finish_at_once(WebhookReceiver::builder(notifier.clone()).secret(SECRET).build()?);
        let client = Client::builder(format!("http://{name}.example"))
            .notifier(notifier)
            .public_url("http://here.example/foreman");
        clients.push(client.build_with(daemon).await?);
    }
    let alone = clients[0].jobs();
    let pool = Pool::from_clients(clients)?;
    let (mut of_client, mut of_pool) = (Vec::new(), Vec::new());
    for round in 0..if quick() { 3 } else { 61 } {
        // Each comes first in half of the rounds.
        if round % 2 == 0 {
            of_client.push(calls(&alone).await?);
            of_pool.push(calls(&pool).await?);
        } else {
            of_pool.push(calls(&pool).await?);
            of_client.push(calls(&alone).await?);
        }
    }
    let nanos = |calls: &[Calls]| median(calls.iter().map(|calls| calls.nanos).collect());
    let allocations =
        |calls: &[Calls]| calls.iter().map(|calls| calls.allocations).fold(f64::INFINITY, f64::min).round();
    let added = median(of_pool.iter().zip(&of_client).map(|(pool, client)| pool.nanos - client.nanos).collect());
    Figure::new("call of a pool of three daemons, beside the client alone", nanos(&of_pool), "ns")
        .beside(nanos(&of_client))
        .record()?;
    Figure::new("time that the pool adds to a call", added, "ns").target(Target::Value(2_000.0)).record()?;
    let added = allocations(&of_pool) - allocations(&of_client);
    Figure::new("allocations that the pool adds to a call", added, "allocations").target(Target::Value(0.0)).record()
}
