use std::io::Read as _;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Whether this namespace forwards packets. If not, it drops them without an answer.
const FORWARDS: &str = "/proc/sys/net/ipv4/ip_forward";

/// Two networks, joined by a router: the namespace of this process. It reaches both, also while they do not reach each other.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) left: Side,
    pub(crate) right: Side,
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) address: &'static str,
    /// The address of this process there.
    pub(crate) router: &'static str,
    /// A process that is in it, and ends with its standard input.
    process: Child,
    _stdin: ChildStdin,
}

impl Network {
    pub(crate) fn new() -> Self {
        run(Command::new("ip").args(["link", "set", "lo", "up"]));
        let network =
            Self { left: Side::new("left", "10.0.1.1", "10.0.1.2"), right: Side::new("right", "10.0.2.1", "10.0.2.2") };
        network.restore();
        network
    }

    /// Drops the packets from one side to the other. The links stay up, and nobody is told.
    pub(crate) fn cut(&self) {
        std::fs::write(FORWARDS, "0").unwrap();
    }

    pub(crate) fn restore(&self) {
        std::fs::write(FORWARDS, "1").unwrap();
    }
}

impl Side {
    fn new(link: &str, router: &'static str, address: &'static str) -> Self {
        let mut process = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo && exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        // Then it is in its namespace.
        process.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let side = Self { address, router, process, _stdin: stdin };
        let pid = side.process().to_string();
        run(Command::new("ip").args(["link", "add", link, "type", "veth", "peer", "name", "router", "netns", &pid]));
        run(Command::new("ip").args(["address", "add", &format!("{router}/24"), "dev", link]));
        run(Command::new("ip").args(["link", "set", link, "up"]));
        run(side.command("ip").args(["link", "set", "lo", "up"]));
        run(side.command("ip").args(["address", "add", &format!("{address}/24"), "dev", "router"]));
        run(side.command("ip").args(["link", "set", "router", "up"]));
        run(side.command("ip").args(["route", "add", "default", "via", router]));
        side
    }

    /// A process that is in the namespace.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// A command in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process().to_string(), "--net", "--", program]);
        command
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
