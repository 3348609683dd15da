use std::process::{Command, Stdio};

use foreman_client::BoxError;

use super::support::process::DaemonProcess;
use super::work::{self, Run, Work};

pub(super) fn is_installed() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The instructions of one operation: the difference between a run and one that does less.
pub(super) fn instructions(work: Work) -> Result<f64, BoxError> {
    let (less, more, operations) = work.runs();
    Ok((count(less)? - count(more)?).abs() / operations)
}

fn count(run: Run) -> Result<f64, BoxError> {
    let daemon = DaemonProcess::start(run.work.daemon())?;
    let profile = tempfile::NamedTempFile::new()?;
    let mut argument = std::ffi::OsString::from("--callgrind-out-file=");
    argument.push(profile.path());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--trace-children=no"])
        .arg(argument)
        .arg(std::env::current_exe()?)
        .arg(work::ARGUMENT)
        .args(run.arguments(daemon.url()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let collected = errors.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected {
        Some(collected) if output.status.success() => Ok(collected),
        _ => Err(format!("callgrind failed: {}\n{errors}", output.status).into()),
    }
}
