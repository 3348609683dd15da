//! A PostgreSQL server for the tests of a process: a cluster in a temporary folder, which listens on a socket in it.

#[path = "postgres_programs.rs"]
mod postgres_programs;

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use self::postgres_programs::{Place, USER, as_user, on_disk, programs};

/// Ends the server when the process of the tests has ended, in whichever way.
const WATCH: &str = r#"cat >/dev/null; "$0/pg_ctl" -D "$1/data" -m immediate stop >/dev/null 2>&1; rm -rf "$1""#;

/// A running server, which asks nobody but the user `strict` for a password.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    programs: PathBuf,
    folder: PathBuf,
    options: String,
    /// With a small file system, it is the folder [`disk`](Self::disk).
    place: Place,
    _watch: (Child, ChildStdin),
}

/// The server of this process, started by the first call. Without an installation it is `None`, and the tests that need it do nothing;
/// with `CI` set they fail.
pub(crate) fn server() -> Option<&'static PostgresServer> {
    static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
    SERVER.get_or_init(PostgresServer::start).as_ref()
}

impl PostgresServer {
    /// Starts a server of its own, for a test that stops it. It does not sync: what a crash of the machine would lose does not matter.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("-c fsync=off")
    }

    /// Starts a server with these options.
    pub(crate) fn start_with(options: &str) -> Option<Self> {
        let server = Self::create(options)?;
        server.up();
        Some(server)
    }

    /// Starts a server that listens on loopback too, with this certificate and key (PEM). Returns its port.
    pub(crate) fn start_tls(certificate: &str, key: &str) -> Option<(Self, u16)> {
        let mut server = Self::create("-c fsync=off")?;
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            server.write(&server.data().join(name), pem);
        }
        for _ in 0..10 {
            // Another process may take it before the server does.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.options = format!("-c fsync=off -c ssl=on -c listen_addresses=127.0.0.1 -c port={port}");
            if server.try_up() {
                return Some((server, port));
            }
        }
        panic!("no port is free");
    }

    /// Starts a server that has a small file system of its own, in a user namespace, and stores its tables there. `None` where the kernel
    /// does not allow it.
    pub(crate) fn start_on_disk() -> Option<Self> {
        let mut server = Self::create("-c fsync=off")?;
        server.place = Place::OnDisk;
        let disk = server.disk();
        assert!(as_user("mkdir").arg(&disk).status().unwrap().success());
        if !on_disk(&disk).arg("true").stderr(Stdio::null()).status().unwrap().success() {
            std::io::stderr().write_all(b"skipped: the kernel allows no user namespace\n").unwrap();
            return None;
        }
        server.up();
        server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.display()));
        server.sql("ALTER DATABASE postgres SET default_tablespace = small");
        Some(server)
    }

    /// Starts a server in the network namespace of a process, which is private. It listens on all addresses there.
    pub(crate) fn start_in_network(process: u32) -> Option<Self> {
        let mut server = Self::create("-c fsync=off -c listen_addresses=*")?;
        server.place = Place::InNetwork(process);
        let all = r#"echo "host all all all trust" >>"$0"/pg_hba.conf"#;
        assert!(as_user("sh").arg("-c").arg(all).arg(server.data()).status().unwrap().success());
        server.up();
        Some(server)
    }

    /// Fills the small file system.
    pub(crate) fn fill_disk(&self) {
        let fill = format!("cat >/dev/null; cat /dev/zero >{}/filler 2>/dev/null; true", self.disk().display());
        self.sql(&format!("COPY (SELECT 1) TO PROGRAM '{fill}'"));
    }

    pub(crate) fn empty_disk(&self) {
        self.sql(&format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; rm {}/filler'", self.disk().display()));
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        let log = as_user("cat").arg(self.folder.join("log")).output().unwrap();
        String::from_utf8_lossy(&log.stdout).into_owned()
    }

    fn create(options: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed");
            // Not by a macro, whose output is hidden if the test passes.
            std::io::stderr().write_all(b"skipped: PostgreSQL is not installed\n").unwrap();
            return None;
        };
        let made = as_user("mktemp").args(["-d", "/tmp/foreman-postgres-XXXXXX"]).output().unwrap();
        let folder = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim());
        assert!(folder.is_dir(), "{folder:?}: {}", String::from_utf8_lossy(&made.stderr));
        let mut watch = as_user("sh");
        watch.arg("-c").arg(WATCH).arg(&programs).arg(&folder).stdin(Stdio::piped());
        // A signal to the group of the tests does not end it.
        let mut watch = watch.process_group(0).spawn().unwrap();
        let stdin = watch.stdin.take().unwrap();
        let server = Self { programs, folder, options: options.to_owned(), place: Place::Here, _watch: (watch, stdin) };
        let data = server.data();
        // Neither the name of the user nor the locale decides.
        let options = ["-A", "trust", "-N", "-U", USER, "-E", "UTF8"].map(OsStr::new);
        server.run("initdb", [OsStr::new("-D"), data.as_os_str()].into_iter().chain(options));
        let strict =
            r#"cd "$0" && { echo "local all strict scram-sha-256"; cat pg_hba.conf; } >hba && mv hba pg_hba.conf"#;
        assert!(as_user("sh").arg("-c").arg(strict).arg(&data).status().unwrap().success());
        Some(server)
    }

    /// Starts the server after [`stop`](Self::stop).
    pub(crate) fn up(&self) {
        assert!(self.try_up(), "{}", self.log());
    }

    fn try_up(&self) -> bool {
        let control = self.programs.join("pg_ctl");
        let mut start = self.place.command("env", &self.disk());
        start.arg(control).arg("-D").arg(self.data()).arg("-w").arg("-l").arg(self.folder.join("log"));
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c max_connections=300 {}",
            self.folder.display(),
            self.options
        );
        start.args(["-o", &options, "start"]);
        // The server inherits what it is not given.
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Stops the server as a crash does.
    pub(crate) fn stop(&self) {
        let data = self.data();
        self.run(
            "pg_ctl",
            ["-D".as_ref(), data.as_os_str(), "-m".as_ref(), "immediate".as_ref(), "-w".as_ref(), "stop".as_ref()],
        );
    }

    /// The URL of a new schema of its own.
    pub(crate) fn schema(&self) -> String {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE SCHEMA {name}"));
        self.url(&name)
    }

    /// The URL of a schema. Its connections are named after it.
    pub(crate) fn url(&self, schema: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/postgres?application_name={schema}&options=-csearch_path%3D{schema}")
    }

    /// The URL of a schema by the network, for connections of this name.
    pub(crate) fn url_at(&self, address: &str, url: &str, name: &str) -> String {
        let schema = url.rsplit_once("%3D").unwrap().1;
        format!("postgres://{USER}@{address}/postgres?application_name={name}&options=-csearch_path%3D{schema}")
    }

    /// Runs SQL in the schema of a URL.
    pub(crate) fn sql_in(&self, url: &str, sql: &str) -> String {
        let schema = url.rsplit_once("%3D").unwrap().1;
        self.sql(&format!("SET search_path = {schema}; {sql}"))
    }

    /// Cuts all connections that were opened by a URL.
    pub(crate) fn cut(&self, url: &str) {
        let schema = url.rsplit_once("%3D").unwrap().1;
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'"
        ));
    }

    /// Runs SQL, and returns the rows of the last statement.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut psql = as_user(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres", "-h"])
            .arg(&self.folder);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let done = psql.wait_with_output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Runs `pgbench` with a script in the schema of a URL, and returns its output.
    pub(crate) fn pgbench(&self, url: &str, script: &str, arguments: &[&str]) -> String {
        let schema = url.rsplit_once("%3D").unwrap().1;
        let file = self.folder.join("script");
        self.write(&file, &script.replace('\n', " "));
        let mut bench = as_user("env");
        bench.arg(format!("PGOPTIONS=-csearch_path={schema}")).arg(self.programs.join("pgbench"));
        bench.args(["-n", "-M", "prepared", "-U", USER, "-f"]).arg(&file).arg("-h").arg(&self.folder).args(arguments);
        let done = bench.arg("postgres").stderr(Stdio::inherit()).output().unwrap();
        assert!(done.status.success(), "{script}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// Writes a file that only the server's user can read.
    fn write(&self, file: &Path, text: &str) {
        let mut write = as_user("sh");
        let write = write.args(["-c", "umask 077; cat >\"$0\""]).arg(file);
        let mut write = write.stdin(Stdio::piped()).spawn().unwrap();
        write.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(write.wait().unwrap().success());
    }

    fn run<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) {
        let mut command = as_user(self.programs.join(program));
        // The server inherits what it is not given.
        let done =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "{program}: {done}");
    }
}
