//! What the benches share: a daemon of raw hyper as a process of its own, a floor to compare the client with, an HTTP service in memory,
//! and figures that are printed and recorded.

pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod floor;
pub(crate) mod in_memory;
pub(crate) mod process;
pub(crate) mod rounds;

pub(crate) const SECRET: &str = "a secret that both sides know";

/// Whether `--quick` is among the arguments: a smoke run, whose figures mean little.
pub(crate) fn quick() -> bool {
    flag("--quick")
}

pub(crate) fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

/// The arguments after `name`. `None` without it.
pub(crate) fn arguments_of(name: &str) -> Option<Vec<String>> {
    let at = std::env::args().position(|argument| argument == name)?;
    Some(std::env::args().skip(at + 1).collect())
}
