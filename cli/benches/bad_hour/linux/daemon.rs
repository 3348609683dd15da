//! `foreman serve` as a process that is restarted and killed, and the reader of its log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Bounds a start or a stop that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct DaemonProcess {
    args: Vec<OsString>,
    address: String,
    child: Option<(Child, BufReader<ChildStdout>)>,
    /// Write end of the pipe of the log, which all processes of the daemon share, so that its reader never sees an end.
    log: PipeWriter,
    log_is_read: Arc<AtomicBool>,
}

impl DaemonProcess {
    pub(crate) async fn start(args: Vec<OsString>, log_file: PathBuf) -> Self {
        let (reader, log) = std::io::pipe().unwrap();
        let log_is_read = Arc::new(AtomicBool::new(true));
        let is_read = Arc::clone(&log_is_read);
        std::thread::spawn(move || copy_log(&reader, &log_file, &is_read));
        // An address of its own, so that no connection takes the port between two processes.
        let mut daemon = Self { args, address: "127.0.0.2:0".to_owned(), child: None, log, log_is_read };
        daemon.start_again().await;
        daemon
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> i32 {
        let id = self.child.as_ref().and_then(|(child, _)| child.id());
        id.expect("a running daemon").try_into().unwrap()
    }

    pub(crate) async fn start_again(&mut self) {
        // The limit of a file's size raises this signal, whose default action ends the process.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, env!("CARGO_BIN_EXE_foreman")]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FOREMAN_") {
                command.env_remove(name);
            }
        }
        let log = self.log.try_clone().unwrap();
        command.args(["serve", "--listen", &self.address]).args(&self.args).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = timeout(PATIENCE, stdout.read_line(&mut line)).await;
        let Some(address) = line.trim().strip_prefix("listening on http://").filter(|_| read.is_ok()) else {
            panic!("the daemon does not start: {line:?}, {:?}", child.try_wait());
        };
        self.address = address.to_owned();
        self.child = Some((child, stdout));
    }

    /// Stops it by a signal, and returns the exit status; `None` if the signal ended it.
    pub(crate) async fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.id()), signal).unwrap();
        let (mut child, _) = self.child.take().unwrap();
        let Ok(status) = timeout(PATIENCE, child.wait()).await else { panic!("the daemon does not stop by {signal}") };
        status.unwrap().code()
    }

    /// Stops reading the log, and fills its pipe.
    pub(crate) fn stop_reading_log(&self) {
        self.log_is_read.store(false, SeqCst);
        // A description of its own, so that writes of the daemon still block.
        let path = format!("/proc/self/fd/{}", self.log.as_raw_fd());
        let mut pipe = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).unwrap();
        for _ in 0..1 << 20 {
            if pipe.write(b"\n").is_err() {
                return;
            }
        }
        panic!("the log is still read");
    }

    pub(crate) fn read_log_again(&self) {
        self.log_is_read.store(true, SeqCst);
    }

    /// Peak and present memory in MiB, and the number of open descriptors.
    pub(crate) fn usage(&self) -> (u64, u64, usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
        };
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count();
        (mib("VmHWM:"), mib("VmRSS:"), files)
    }
}

/// Copies the log to a file while it is to be read. Ends with this process.
fn copy_log(reader: &PipeReader, log_file: &PathBuf, is_read: &AtomicBool) {
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let mut pipe = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).unwrap();
    let mut file = File::create(log_file).unwrap();
    let mut bytes = vec![0; 1 << 16];
    loop {
        while is_read.load(SeqCst)
            && let Ok(count) = pipe.read(&mut bytes)
        {
            file.write_all(&bytes[..count]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
