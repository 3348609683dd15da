//! The file system of the store, which can be filled.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells the program that it has mounts of its own.
const IN_NAMESPACE: &str = "--in-namespace";

/// The size of the file system.
const SIZE: &str = "size=192m";

#[derive(Debug)]
pub(crate) enum Disk {
    /// A small file system in memory, which a second file fills.
    Small(PathBuf),
    /// Where the kernel lets no user mount one: a limit of the size of files of the daemon's process. Writes fail too, though with
    /// another error.
    Limit,
}

/// Restarts the program in a user namespace with mounts of its own, which end with it, if the kernel allows it.
pub(crate) fn enter_namespace() {
    const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    if std::env::args().any(|argument| argument == IN_NAMESPACE) {
        return;
    }
    let mut probe = Command::new("unshare");
    probe.args(UNSHARE).args(["mount", "-t", "tmpfs", "-o", SIZE, "probe", "/tmp"]).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        let mut command = Command::new("unshare");
        command.args(UNSHARE).arg(std::env::current_exe().unwrap()).args(std::env::args().skip(1)).arg(IN_NAMESPACE);
        panic!("unshare: {}", command.exec());
    }
}

impl Disk {
    pub(crate) fn mount(folder: &Path) -> Self {
        if !std::env::args().any(|argument| argument == IN_NAMESPACE) {
            return Self::Limit;
        }
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", SIZE, "bad-hour"]).arg(folder).status().unwrap();
        assert!(mounted.success(), "mount: {mounted}");
        Self::Small(folder.join("filler"))
    }

    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Small(_) => "a full file system (tmpfs in a user namespace)",
            Self::Limit => "a limit of the daemon's file size, since no file system can be mounted",
        }
    }

    pub(crate) fn fill(&self, daemon: i32) {
        match self {
            Self::Small(filler) => {
                let mut file = OpenOptions::new().create(true).append(true).open(filler).unwrap();
                // The last pages go to whoever is first. The file system is far smaller.
                for chunk in [1 << 20, 1 << 12, 1] {
                    for _ in 0..1 << 13 {
                        if file.write(&vec![0; chunk]).is_err() {
                            break;
                        }
                    }
                }
            }
            Self::Limit => limit(daemon, "0:"),
        }
    }

    pub(crate) fn empty(&self, daemon: i32) {
        match self {
            Self::Small(filler) => std::fs::remove_file(filler).unwrap(),
            Self::Limit => limit(daemon, "unlimited:"),
        }
    }
}

fn limit(process: i32, size: &str) {
    let status = Command::new("prlimit").args(["--pid", &process.to_string(), &format!("--fsize={size}")]).status();
    assert!(status.unwrap().success(), "prlimit");
}
