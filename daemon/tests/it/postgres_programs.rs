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

/// Where a server runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Here,
    /// With a small file system of its own.
    OnDisk,
    /// In the network namespace of this process.
    InNetwork(u32),
}

impl Place {
    /// A command there, which does not run as root. `disk`: the folder of the small file system.
    pub(super) fn command(self, program: &str, disk: &Path) -> Command {
        match self {
            Self::Here => as_user(program),
            Self::OnDisk => {
                let mut command = on_disk(disk);
                command.arg(program);
                command
            }
            Self::InNetwork(process) => {
                let command = as_user(program);
                let mut enter = Command::new("nsenter");
                enter.args(["--target", &process.to_string(), "--net", "--"]);
                enter.arg(command.get_program()).args(command.get_args()).current_dir("/");
                enter
            }
        }
    }
}

/// A command that does not run as root.
pub(super) fn as_user(program: impl AsRef<OsStr>) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| {
        use std::os::unix::fs::MetadataExt as _;
        process.uid() == 0
    });
    let mut command = if !is_root {
        Command::new(program.as_ref())
    } else if is_in_user_namespace() {
        // Any user with a name.
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=65534", "--map-group=65534", "--"]).arg(program.as_ref());
        command
    } else {
        let mut command = Command::new("runuser");
        command.args(["-u", USER, "--"]).arg(program.as_ref());
        command
    };
    command.current_dir("/");
    command
}

/// Whether root is the only user.
fn is_in_user_namespace() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    users.split_whitespace().nth(2) == Some("1")
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
