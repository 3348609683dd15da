//! Runs all benches and writes `benches/RESULTS.md`, the plots beside it, and the part of README.md between its two markers.
//!
//! `cargo bench --bench report`. With `-- --quick`, all is a smoke run, and the files go to a directory below cargo's target directory,
//! which is printed.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

mod machine;
mod plot;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use foreman_client::BoxError;
use tokio::time::Instant;

use self::plot::Plot;
use self::support::figures::Figure;
use self::support::quick;

/// A bench and its arguments, without those of a smoke run.
const BENCHES: [(&str, &[&str]); 7] = [
    ("throughput", &[]),
    ("waiting", &["--million"]),
    ("stream", &[]),
    ("event", &[]),
    ("stack", &[]),
    ("poll", &[]),
    ("counts", &[]),
];

/// The beginnings of the variables that cargo sets for a program of a package.
const OF_PACKAGE: [&str; 5] = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_"];

/// A bench that has run.
struct Section {
    bench: &'static str,
    /// The command to run it again.
    command: String,
    figures: Vec<Figure>,
    seconds: f64,
    failed: bool,
}

fn main() -> Result<(), BoxError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory =
        if quick() { Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-report") } else { root.join("benches") };
    std::fs::create_dir_all(&directory)?;
    let mut sections = Vec::new();
    for (bench, arguments) in BENCHES {
        sections.push(run(bench, arguments)?);
    }
    for (name, plot) in plots(&sections) {
        std::fs::write(directory.join(name), plot.svg())?;
    }
    std::fs::write(directory.join("RESULTS.md"), table::results(&sections)?)?;
    println!("written: {}", directory.join("RESULTS.md").display());
    if !quick() {
        table::update_readme(&root.join("README.md"), &sections)?;
    }
    let failed: Vec<_> = sections.iter().filter(|section| section.failed).map(|section| section.bench).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn run(bench: &'static str, arguments: &[&str]) -> Result<Section, BoxError> {
    let arguments = if quick() { &["--quick"] } else { arguments };
    let figures = tempfile::NamedTempFile::new()?;
    let mut command = format!("cargo bench --bench {bench}");
    if !arguments.is_empty() {
        command = format!("{command} -- {}", arguments.join(" "));
    }
    println!("\n{command}");
    let start = Instant::now();
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut cargo = Command::new(cargo);
    // Set by the cargo that runs this program. Build scripts that look at them would run again, and their dependents be built again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_PACKAGE.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["bench", "--bench", bench, "--"])
        .args(arguments)
        .arg("--json")
        .arg(figures.path())
        .status()?;
    let seconds = start.elapsed().as_secs_f64();
    let lines = std::fs::read_to_string(figures.path())?;
    let figures = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(Section { bench, command, figures, seconds, failed: !status.success() })
}

/// The plots and their file names. Each has the floor beside the client.
fn plots(sections: &[Section]) -> [(&'static str, Plot); 2] {
    let figures =
        |bench| sections.iter().filter(move |section| section.bench == bench).flat_map(|section| &section.figures);
    let mut throughput = Plot::new("Throughput, jobs without work", "jobs in flight", "jobs a second");
    let work = "throughput, no work, event after the 202, ";
    for figure in figures("throughput") {
        let Some(rest) = figure.name.strip_prefix(work) else { continue };
        throughput.add(rest, " in flight, by ", figure);
    }
    let mut memory = Plot::new("Resident memory of a waiting job", "jobs waiting", "bytes a job");
    for figure in figures("waiting") {
        let Some(rest) = figure.name.strip_prefix("memory of a job waiting by ") else { continue };
        let Some((source, jobs)) = rest.split_once(", ") else { continue };
        memory.add(&format!("{jobs} by {source}"), " jobs by ", figure);
    }
    [("throughput.svg", throughput), ("memory.svg", memory)]
}
