//! A bad hour of a daemon in minutes: `foreman serve` under load, while what it depends on fails in turn.
//!
//! ```text
//! cargo bench -p foreman --bench bad_hour                       # 3 rounds of the faults, in random order
//! cargo bench -p foreman --bench bad_hour -- --seed 7           # with the order and the load of a seed
//! cargo bench -p foreman --bench bad_hour -- --quick            # 1 round of short faults, in fixed order
//! ```
//!
//! The daemon is a process with a file and default settings, apart from addresses, secrets and a short drain. It begins with a store that
//! has jobs in it. Around it are a double of Ollama, three webhook receivers, and submitters by plain HTTP and by the client library.
//! The tables have the faults, and the promises that must hold in the end. The exit status is 1 if one is broken. The seed
//! does not decide the times at which the processes run. Linux only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops if it fails")]
#![allow(clippy::print_stdout, reason = "it prints its tables")]
#![allow(clippy::disallowed_methods, reason = "threads of its own sleep")]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
use self::linux::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the bad hour needs Linux");
}
