//! Kills a daemon with a file under load, repeatedly, and checks that no promise of its responses is broken.
//!
//! ```text
//! cargo test --all-features --test crash                     # 20 rounds
//! CRASH_ROUNDS=200 cargo test --all-features --test crash
//! CRASH_SEED=7 cargo test --all-features --test crash        # the times of the kills
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = ".clippy.toml allows them in tests, but not in helpers")]

mod child;
#[path = "../killed/mod.rs"]
mod killed;
mod parent;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.iter().position(|argument| argument == killed::SERVE) {
        Some(at) => runtime.block_on(child::serve(arguments[at + 1].as_ref(), arguments[at + 2].as_ref())),
        // Test runners list the tests first.
        None if arguments.iter().any(|argument| argument == "--list") => println!("crash: test"),
        None => runtime.block_on(parent::rounds()),
    }
}
