//! Random programs of hostile callers over the whole client, checked against a model.
//!
//! A program is a list of steps of callers, and what two daemons do to their requests and jobs. After the last step the faults stop, and
//! every wait that is polled must end. `PROPTEST_CASES` sets the number of programs, and `PROPTEST_RNG_SEED` their seed, which a failure
//! prints.

mod abandoned;
mod counts;
mod daemon;
mod events;
mod model;
mod pauses;
mod program;
mod renewals;
mod run;
mod stacks;
mod wait;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestError, TestRunner};

/// They take less than 10 s in a debug build.
const CASES: u32 = 1_000;

#[test]
fn programs_of_hostile_callers_keep_the_promises() {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { CASES };
    let rng_seed = if config.rng_seed == RngSeed::Random { RngSeed::Fixed(0) } else { config.rng_seed };
    let mut runner = TestRunner::new(ProptestConfig { cases, rng_seed, ..config });
    let runs_with = RefCell::new(BTreeMap::new());
    let result = runner.run(&program::program(), |program| {
        let counts = run::run(&program).map_err(TestCaseError::fail)?;
        for (event, count) in counts.named() {
            *runs_with.borrow_mut().entry(event).or_insert(0) += u64::from(count > 0);
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, program)) => panic!("{reason}\nthe smallest program is {program:#?}\n{rng_seed:?}"),
        Err(error) => panic!("{error}\n{rng_seed:?}"),
    }
    let runs_with = runs_with.into_inner();
    println!("{runs_with:?}");
    for (event, runs) in runs_with {
        assert!(runs > 0, "no run had: {event}");
    }
}
