//! The programs of an installation of PostgreSQL, and how they run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that runs the server if the tests run as root, which it refuses. Debian's package creates it.
pub(super) const USER: &str = "postgres";

/// Runs a command with a small file system in memory at a folder. The server refuses to run as the root of the namespace too.
const ON_DISK: &str =
    r#"mount -t tmpfs -o size=24m disk "$0" && exec unshare --user --map-user=1000 --map-group=1000 "$@""#;

/// A command with a small file system at a folder.
pub(super) fn on_disk(folder: &Path) -> Command {
    let mut command = as_user("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_DISK]).arg(folder);
    command
}

/// A command that does not run as root.
pub(super) fn as_user(program: impl AsRef<OsStr>) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| {
        use std::os::unix::fs::MetadataExt as _;
        process.uid() == 0
    });
    let mut command = if is_root { Command::new("runuser") } else { Command::new(program.as_ref()) };
    if is_root {
        command.args(["-u", USER, "--"]).arg(program.as_ref());
    }
    command.current_dir("/");
    command
}

/// The folder of the programs of the newest version.
pub(super) fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|version| {
        let version = version.ok()?;
        Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin")))
    });
    let newest = debian.max().map(|(_, programs)| programs);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    newest.filter(|programs| programs.join("initdb").exists()).or_else(in_path).as_deref().map(Path::to_path_buf)
}
