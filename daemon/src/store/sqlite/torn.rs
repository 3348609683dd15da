//! Files of which a part is destroyed.

use tokio_test::block_on;

use super::tests::{by_hand, done, done_with, file, open, submit, submit_told, take};
use crate::JobState;
use crate::owner::Owner;
use crate::store::{Claim, Store as _};

/// Destroys the pages with nothing but `x`, while no daemon has the file.
fn tear(folder: &tempfile::TempDir) {
    by_hand(folder, "PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = std::fs::read(file(folder)).unwrap();
    let mut pages = 0;
    // Each begins with the number of the next.
    for page in bytes.chunks_mut(4096).filter(|page| page[4..].iter().all(|byte| *byte == b'x')) {
        page.fill(0xff);
        pages += 1;
    }
    assert!(pages > 10, "{pages}");
    std::fs::write(file(folder), bytes).unwrap();
}

#[test]
fn events_whose_part_of_the_file_is_torn_are_left_alone_and_the_others_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (torn, good) = (submit_told(&store, "torn"), submit_told(&store, "good"));
    take(&store).unwrap();
    let long = done_with(&"x".repeat(200_000));
    assert!(block_on(store.finish(&torn, 1, long)).unwrap());
    drop(store);
    tear(&folder);

    let store = open(&folder);
    let broken = block_on(store.claim()).unwrap_err();
    assert_eq!(broken.to_string(), "the store's file is damaged");
    let Claim::Now(mail) = block_on(store.claim()).unwrap() else { panic!("no event") };
    assert_eq!(mail.job_id, good);
    assert!(matches!(block_on(store.claim()).unwrap(), Claim::Nothing));
}

#[test]
fn a_job_whose_part_of_the_file_is_torn_is_left_alone_and_the_others_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (torn, good) = (submit(&store, &"x".repeat(200_000)), submit(&store, "good"));
    drop(store);
    tear(&folder);

    let store = open(&folder);
    let broken = block_on(store.take()).unwrap_err();
    assert_eq!(broken.to_string(), "the store's file is damaged");
    assert_eq!(take(&store).unwrap().job_id, good);
    assert!(take(&store).is_none());
    // It cannot be written either.
    assert_eq!(block_on(store.status(Owner::ANONYMOUS, &torn)).unwrap().unwrap().state, JobState::Queued);
    assert!(block_on(store.finish(&good, 1, done())).unwrap());
    let next = submit(&store, "next");
    assert_eq!(take(&store).unwrap().job_id, next);
}
