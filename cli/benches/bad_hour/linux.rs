mod backend;
mod check;
mod daemon;
mod disk;
mod faults;
mod load;
mod prompt;
mod receiver;
mod run;
mod server;
mod world;

pub(super) use self::run::main;

/// The secret of the webhooks.
const SECRET: &str = "a secret of the bad hour";

/// The tokens of the submitters. The jobs of the old store have the first.
const TOKENS: [&str; 3] = ["token-a", "token-b", "token-c"];
