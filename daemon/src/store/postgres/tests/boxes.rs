//! What daemons know of each other.

use std::time::Duration;

use super::support::{Schema, open_named, submit, take};
use crate::ModelInfo;
use crate::lists::Lists;
use crate::store::postgres::Postgres;
use crate::store::postgres::lease::Renewal;
use crate::store::{Store as _, StoreOptions};

/// Waits until the daemon has read what the others have changed.
async fn until(daemon: &Postgres, is_so: impl Fn(&crate::store::Fleet) -> bool) {
    let looking = async {
        while !daemon.fleet().is_some_and(|fleet| is_so(&fleet)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap();
}

#[tokio::test]
async fn daemons_know_those_with_a_lease() {
    let Some(schema) = Schema::new() else { return };
    let one = schema.open().await;
    assert_eq!(one.fleet().unwrap().boxes.len(), 1);
    let other = schema.open().await;
    until(&one, |fleet| fleet.others().count() == 1).await;
    let id = other.shared.lease.id();
    schema.sql(&format!("UPDATE boxes SET leased_until = clock_timestamp() - interval '1 s' WHERE id = '{id}'"));
    until(&one, |fleet| fleet.others().count() == 0).await;
    assert_eq!(other.shared.lease.renew(&other.shared.database).await.unwrap(), Renewal::Renewed);
    until(&one, |fleet| fleet.others().any(|one| one.id == id)).await;
    other.close().await.unwrap();
    until(&one, |fleet| fleet.boxes.len() == 1).await;
}

#[tokio::test]
async fn lists_are_published_when_they_change_and_after_a_lost_lease() {
    let Some(schema) = Schema::new() else { return };
    let (one, lists) = (schema.open().await, Lists::new(["gpu"]));
    let options = StoreOptions { lists: lists.clone(), ..StoreOptions::of_test(9) };
    let other = open_named(&schema.url, Duration::from_secs(1), "other", options).await.unwrap();
    until(&one, |fleet| fleet.may_be_elsewhere("m") && !fleet.lists_elsewhere("m")).await;
    lists.set(0, &[ModelInfo::new("m")], false);
    until(&one, |fleet| fleet.lists_elsewhere("m")).await;
    lists.set_available(0, false);
    until(&one, |fleet| fleet.others().flat_map(|one| one.backends.iter().flatten()).any(|one| one.unavailable)).await;
    let versions = || schema.sql("SELECT string_agg(version::text, ' ' ORDER BY version) FROM boxes");
    let before = versions();
    other.shared.lease.renew(&other.shared.database).await.unwrap();
    assert_eq!(versions(), before);
    let id = other.shared.lease.id();
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{id}'"));
    until(&one, |fleet| fleet.lists_elsewhere("m") && fleet.others().all(|one| one.id != id)).await;
    // Lists that this version cannot read.
    schema.sql("UPDATE boxes SET backends = '7' WHERE name = 'other'");
    until(&one, |fleet| fleet.may_be_elsewhere("x")).await;
}

/// The row may be gone before the feed has read it.
#[tokio::test]
async fn daemon_that_drains_itself_knows_it_at_once() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    assert!(daemon.set_draining(daemon.shared.lease.id(), true).await.unwrap());
    assert!(daemon.is_draining());
    daemon.shared.lease.rename();
    daemon.shared.lease.register(&daemon.shared.database).await.unwrap();
    assert_eq!(schema.sql("SELECT bool_and(draining) FROM boxes"), "t");
    submit(&daemon, "go").await;
    assert!(take(&daemon).await.is_none());
}

#[tokio::test]
async fn drained_daemon_stays_drained_through_renewed_and_lost_leases() {
    let Some(schema) = Schema::new() else { return };
    let operator = schema.open().await;
    let drained = open_named(&schema.url, Duration::from_secs(3), "drained", StoreOptions::of_test(9)).await.unwrap();
    submit(&operator, "go").await;
    let before = drained.shared.lease.id();
    assert!(operator.set_draining(before, true).await.unwrap());
    assert!(take(&drained).await.is_none());
    drained.shared.lease.renew(&drained.shared.database).await.unwrap();
    until(&drained, |fleet| fleet.boxes.iter().any(|one| one.draining)).await;
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{before}'"));
    until(&operator, |fleet| fleet.others().any(|one| one.id != before && one.draining)).await;
    assert!(take(&drained).await.is_none());
    assert!(!operator.set_draining(before, false).await.unwrap());
    let after = drained.shared.lease.id();
    assert!(operator.set_draining(after, false).await.unwrap());
    // It may not have read that it has another id.
    until(&drained, |fleet| fleet.boxes.iter().any(|one| one.id == after && !one.draining)).await;
    assert!(take(&drained).await.is_some());
}
