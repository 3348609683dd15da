//! What the tests that kill daemons share. The process of such a test starts itself again as the daemon.

mod hooks;
mod http;
mod process;

pub(crate) use self::hooks::{Hooks, Received};
pub(crate) use self::http::{status, submit};
pub(crate) use self::process::{SERVE, start};
