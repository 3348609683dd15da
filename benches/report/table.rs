//! The figures as Markdown.

use std::fmt::Write as _;
use std::path::Path;

use foreman_client::BoxError;

use super::support::figures::{Figure, number};
use super::{Section, machine, quick};

const BEGIN: &str = "<!-- written by `just bench-report`: begin -->\n";
const END: &str = "<!-- written by `just bench-report`: end -->";

/// The figures of README.md, by the beginnings of their names.
const README: [&str; 11] = [
    "processor time, no work, event after the 202, 256 in flight",
    "memory of a job waiting by webhook, 100000 jobs",
    "memory of a job waiting by polling, 100000 jobs",
    "processor time to finish a job by webhook, 100000 jobs",
    "latency by the event stream",
    "connections of 10000 waits by the event stream",
    "event of 32 KB",
    "time that the stack adds",
    "allocations that the stack adds",
    "throughput under four times the load",
    "refusal, 99th percentile",
];

pub(crate) fn results(sections: &[Section]) -> Result<String, BoxError> {
    let mut text = String::from("# Results of the benches\n\n");
    writeln!(text, "Written by `just bench-report` on {}.\n", date())?;
    writeln!(text, "Machine: {}.\n", machine::describe())?;
    if quick() {
        writeln!(text, "This is a smoke run: its figures mean little.\n")?;
    }
    if let Some(load) = machine::load() {
        writeln!(text, "Load average at the end: {load}. The benches use two processors.\n")?;
    }
    text.push_str("*Beside* is what a figure is compared with: the floor (raw hyper that does the same without abstraction and without ");
    text.push_str("features) unless the name says otherwise. *Ratio* is the figure divided by it.\n\n");
    text.push_str(
        "![throughput against jobs in flight](throughput.svg)\n\n![memory against jobs waiting](memory.svg)\n",
    );
    for section in sections {
        let failed = if section.failed { " The bench failed." } else { "" };
        writeln!(text, "\n## {}\n\n`{}`, {:.0} s.{failed}\n", section.bench, section.command, section.seconds)?;
        table(&mut text, section.figures.iter())?;
    }
    Ok(text)
}

fn table<'a>(text: &mut String, figures: impl Iterator<Item = &'a Figure>) -> std::fmt::Result {
    text.push_str("| figure | value | beside | ratio | target | |\n|---|---|---|---|---|---|\n");
    for figure in figures {
        let beside = figure.beside.map(number).unwrap_or_default();
        let ratio = figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
        let met = match figure.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let value = number(figure.value);
        writeln!(text, "| {} | {value} {} | {beside} | {ratio} | {target} | {met} |", figure.name, figure.unit)?;
    }
    Ok(())
}

/// Replaces what is between the markers by some of the figures and a plot.
pub(crate) fn update_readme(path: &Path, sections: &[Section]) -> Result<(), BoxError> {
    let readme = std::fs::read_to_string(path)?;
    let (before, rest) = readme.split_once(BEGIN).ok_or("README.md has no marker for the figures")?;
    let (_, after) = rest.split_once(END).ok_or("README.md has no marker for the end of the figures")?;
    let figures: Vec<_> = sections.iter().flat_map(|section| &section.figures).collect();
    let chosen = README.iter().flat_map(|name| figures.iter().filter(move |figure| figure.name.starts_with(name)));
    let mut text = format!("\n{}, {}:\n\n", machine::describe(), date());
    table(&mut text, chosen.copied())?;
    text.push_str("\n![memory against jobs waiting](benches/memory.svg)\n\n");
    Ok(std::fs::write(path, format!("{before}{BEGIN}{text}{END}{after}"))?)
}

fn date() -> String {
    jiff::Timestamp::now().to_string().chars().take("2026-01-01".len()).collect()
}
