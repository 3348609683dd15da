use super::support::Schema;
use crate::store::sqlite::tests::both_stores::{Compared, assert_agree};
use crate::store::{Memory, Sqlite, StoreOptions};

#[tokio::test]
async fn postgres_sqlite_and_memory_agree() {
    for seed in 0..10 {
        let Some(schema) = Schema::new() else { return };
        let folder = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::of_test(6);
        options.max_queue.running_of_owner = 2;
        let postgres = schema.open_with(options.clone()).await;
        let sqlite = Sqlite::open(&folder.path().join("jobs.db"), options.clone()).unwrap();
        let memory = Memory::new(options);
        assert_agree(seed, &[&postgres, &sqlite, &memory], Compared::Shared).await;
        assert_eq!(schema.sql(super::counts::WRONG), "0", "seed {seed}");
    }
}
