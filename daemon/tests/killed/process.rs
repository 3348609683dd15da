use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The argument that makes the process of the test a daemon.
pub(crate) const SERVE: &str = "--serve";

/// Starts a daemon with these arguments, which prints its URL. Returns the URL too.
pub(crate) async fn start(arguments: [&OsStr; 2]) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the daemon did not start"));
    (child, url)
}
