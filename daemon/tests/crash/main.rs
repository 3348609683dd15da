//! A daemon that keeps its jobs in a file is killed under load, again and again, and everything that it said still holds.
//!
//! ```text
//! cargo test --all-features --test crash                     # 20 rounds
//! CRASH_ROUNDS=200 cargo test --all-features --test crash
//! CRASH_SEED=7 cargo test --all-features --test crash        # when it is killed
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = ".clippy.toml allows them in tests, but not in what tests share")]

mod child;
mod hooks;
mod parent;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.iter().position(|argument| argument == child::SERVE) {
        Some(at) => runtime.block_on(child::serve(arguments[at + 1].as_ref(), arguments[at + 2].as_ref())),
        // What a test runner asks first.
        None if arguments.iter().any(|argument| argument == "--list") => println!("crash: test"),
        None => runtime.block_on(parent::rounds()),
    }
}
