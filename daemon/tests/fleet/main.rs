//! Three daemons share a database under load, while they are killed or frozen for longer than their leases, and while the database
//! restarts. Checks that no accepted job is lost, that each job has one end, and that each end was sent.
//!
//! ```text
//! cargo test --all-features --test fleet                    # 10 rounds
//! FLEET_ROUNDS=100 cargo test --all-features --test fleet
//! FLEET_SEED=7 cargo test --all-features --test fleet       # the order of the faults
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = ".clippy.toml allows them in tests, but not in helpers")]

mod child;
#[path = "../killed/mod.rs"]
mod killed;
mod load;
mod parent;
#[path = "../it/postgres_server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres_server;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.iter().position(|argument| argument == killed::SERVE) {
        Some(at) => runtime.block_on(child::serve(&arguments[at + 1], &arguments[at + 2])),
        // Test runners list the tests first.
        None if arguments.iter().any(|argument| argument == "--list") => println!("fleet: test"),
        None => runtime.block_on(parent::rounds()),
    }
}
