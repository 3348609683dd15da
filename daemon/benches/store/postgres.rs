//! PostgreSQL and `pgbench`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::disk::BODY;

/// Columns and indexes as far as they compare to those of the daemon's file.
const TABLES: &str = "
    CREATE SEQUENCE numbers;
    CREATE TABLE jobs (
        number bigint PRIMARY KEY,
        id text NOT NULL UNIQUE,
        owner bytea NOT NULL,
        state text NOT NULL,
        model text NOT NULL,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        completed_at timestamptz,
        attempt bigint NOT NULL DEFAULT 0,
        spent bigint NOT NULL DEFAULT 0,
        body bytea,
        result text,
        error text,
        artifacts text,
        webhook text,
        traceparent bytea,
        key bytea,
        digest bytea,
        event_stream text
    );
    CREATE INDEX jobs_by_owner ON jobs (owner, number);
    CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, number);
    CREATE INDEX jobs_open ON jobs (state, number) WHERE completed_at IS NULL;
    CREATE UNIQUE INDEX jobs_by_key ON jobs (key, owner) WHERE key IS NOT NULL;
    CREATE INDEX jobs_by_end ON jobs (completed_at) WHERE completed_at IS NOT NULL;
";

/// As in a submission, a row with the same key is looked up. Ids and keys are in order, as those of the daemon and its clients.
fn insert() -> String {
    format!(
        "WITH n AS (SELECT nextval('numbers') AS n)
         INSERT INTO jobs (number, id, owner, state, model, created_at, body, key, digest)
         SELECT n, lpad(to_hex(n), 32, '0'), decode(repeat('00', 16), 'hex'), 'queued', 'm', now(), '{BODY}',
             decode(lpad(to_hex(n), 32, '0'), 'hex'), decode(repeat('00', 32), 'hex') FROM n
         ON CONFLICT DO NOTHING;\n"
    )
}

/// A server of its own. It stops when this is dropped, or when the bench ends in any other way.
pub(super) struct Postgres {
    programs: PathBuf,
    /// Belongs to the user that runs the server. Has the data, the socket and the scripts.
    folder: PathBuf,
    server: Child,
}

impl Postgres {
    /// # Errors
    ///
    /// Why there is no server.
    pub(super) fn start(folder: &Path) -> Result<Self, String> {
        let programs = programs().ok_or("its programs are in no folder of /usr/lib/postgresql or of pg_config")?;
        let folder = folder.join("postgres");
        fs::create_dir(&folder).unwrap();
        // The server refuses to run as root.
        if fs::metadata(&folder).unwrap().uid() == 0 {
            let (user, group) = user("postgres").or_else(|| user("nobody")).ok_or("no user to run it")?;
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        run(program(&programs, &folder, "initdb").args(["-A", "trust", "-U", "bench", "-D", "data"]))?;
        let mut server = command(&folder, "/bin/sh");
        // Ends with its standard input, so that it does not outlive a bench that is killed.
        server.args(["-c", r#""$0" "$@" & read -r _; kill -QUIT $!; wait $!"#]).arg(programs.join("postgres"));
        server.args(["-D", "data", "-k"]).arg(&folder).args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        let log = fs::File::create(folder.join("log")).unwrap();
        let server = server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let postgres = Self { programs, folder, server };
        postgres.wait_until_ready()?;
        run(postgres.program("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-c", TABLES]))?;
        let version = run(postgres.program("psql").args(["-A", "-t", "-c", "SHOW server_version"]))?;
        println!("PostgreSQL {}", String::from_utf8_lossy(&version.stdout).trim());
        fs::write(postgres.folder.join("insert.sql"), insert()).unwrap();
        Ok(postgres)
    }

    /// Rows inserted per second.
    pub(super) fn inserts(&self, clients: usize, span: Duration) -> f64 {
        let (clients, seconds) = (clients.to_string(), span.as_secs().to_string());
        run(self.program("psql").args(["-q", "-c", "TRUNCATE jobs; CHECKPOINT"])).unwrap();
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-f", "insert.sql", "-c", &clients, "-T", &seconds]);
        let output = run(&mut pgbench).unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok()).unwrap()
    }

    /// Asks for at most 30 s.
    fn wait_until_ready(&self) -> Result<(), String> {
        for _ in 0..300 {
            if run(&mut self.program("pg_isready")).is_ok() {
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = program(&self.programs, &self.folder, name);
        command.env("PGHOST", &self.folder).env("PGUSER", "bench").env("PGDATABASE", "postgres");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.stdin = None;
        let _ = self.server.wait();
    }
}

/// The folder of the programs. Debian has them outside of `PATH`.
fn programs() -> Option<PathBuf> {
    let config = Command::new("pg_config").arg("--bindir").output().ok();
    let config = config.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let complete = |folder: &PathBuf| ["initdb", "postgres", "pgbench"].iter().all(|name| folder.join(name).exists());
    config.into_iter().chain(debian).find(complete)
}

/// A program that runs in this folder, as its owner.
fn program(programs: &Path, folder: &Path, name: &str) -> Command {
    command(folder, programs.join(name))
}

fn command(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let owner = fs::metadata(folder).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
    // The folder belongs to another user only if this one is root.
    command.uid(owner.uid()).gid(owner.gid());
    command
}

/// The numbers of a user and its group.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// # Errors
///
/// If it cannot be started, or has failed: its standard error.
fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
