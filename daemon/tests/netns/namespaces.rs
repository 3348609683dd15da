use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The argument of a process that is in namespaces of its own. The name of the test follows.
pub(crate) const INSIDE: &str = "--inside";

/// What the tests need beside the namespaces.
const NEEDS: &str = "ip link add one type veth peer name other && echo 1 >/proc/sys/net/ipv4/ip_forward";

/// A command as the root of a user namespace, in a network of its own.
fn in_namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--"]);
    command
}

/// Runs each test in namespaces of its own, all at the same time.
pub(crate) fn run(tests: &[&str]) {
    let tried = in_namespaces().args(["sh", "-c", NEEDS]).stdin(Stdio::null()).output();
    let refused = match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(refused) = refused {
        assert!(std::env::var_os("CI").is_none(), "no network namespace with `ip`: {refused}");
        let skipped = format!("skipped: no network namespace with `ip`: {refused}\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let mut failed: Vec<_> = tests.iter().map(|test| (test, start(test))).collect();
    failed.retain_mut(|(_, (child, _))| !child.wait().unwrap().success());
    let failed: Vec<_> = failed.iter().map(|(test, _)| test).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Starts this program again for a test. It ends with its standard input.
fn start(test: &str) -> (Child, ChildStdin) {
    let program = std::env::current_exe().unwrap();
    let mut child = in_namespaces().arg(program).args([INSIDE, test]).stdin(Stdio::piped()).spawn().unwrap();
    // Waiting for the child would close it.
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

/// Ends this process, and with it those that it has started, when the process that has started it is gone.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}
