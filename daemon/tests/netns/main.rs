//! A network that separates a daemon from its database, in network namespaces: packets are dropped in silence, so that connections stay
//! half-open. Needs `ip` and a kernel that allows user namespaces. Without them the tests do nothing, and with `CI` set they fail.
//!
//! ```text
//! cargo test --all-features --test netns
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = ".clippy.toml allows them in tests, but not in helpers")]

mod child;
mod cut_off;
#[path = "../it/eventually.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod eventually;
#[path = "../killed/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
mod killed;
mod member;
mod namespaces;
mod network;
#[path = "../it/postgres_server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres_server;
mod power_loss;
#[path = "../it/raw.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod raw;

const CUT_OFF: &str = "box_that_is_cut_off_stops_its_jobs_another_runs_them_and_it_works_again";
const POWER_LOSS: &str = "sessions_of_a_box_that_lost_power_end";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| Some(&arguments[arguments.iter().position(|argument| argument == name)? + 1..]);
    if let Some(daemon) = after(killed::SERVE) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(child::serve(&daemon[0], &daemon[1], &daemon[2]));
    } else if let Some(test) = after(namespaces::INSIDE) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        namespaces::end_with_parent();
        match test[0].as_str() {
            CUT_OFF => runtime.block_on(cut_off::test()),
            POWER_LOSS => runtime.block_on(power_loss::test()),
            other => panic!("no test {other}"),
        }
    } else if after("--list").is_some() {
        // Test runners list the tests first.
        println!("netns: test");
    } else {
        namespaces::run(&[CUT_OFF, POWER_LOSS]);
    }
}
