//! A figure is a measured value beside what it is compared with, and a target.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

use foreman_client::BoxError;
use serde::{Deserialize, Serialize};

use super::arguments_of;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) bench: String,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What the value is compared with, in the same unit.
    pub(crate) beside: Option<f64>,
    pub(crate) target: Option<Target>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The value is at most this.
    Value(f64),
    /// The value divided by that beside it is at most this.
    Ratio(f64),
    /// That ratio is at least this.
    RatioAtLeast(f64),
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        let (name, unit) = (name.into(), unit.to_owned());
        Self { bench: env!("CARGO_CRATE_NAME").to_owned(), name, value, unit, beside: None, target: None }
    }

    pub(crate) fn beside(mut self, value: f64) -> Self {
        self.beside = Some(value);
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Prints the figure and stores it.
    pub(crate) fn record(self) -> Result<(), BoxError> {
        println!("{self}");
        self.store()
    }

    /// With `--json FILE`, appends the figure to that file, as a line of JSON.
    pub(crate) fn store(self) -> Result<(), BoxError> {
        if let Some(path) = arguments_of("--json").and_then(|arguments| arguments.into_iter().next()) {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", serde_json::to_string(&self)?)?;
        }
        Ok(())
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.beside.map(|beside| self.value / beside)
    }

    /// Whether the target is met. `None` without a target.
    pub(crate) fn met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::Value(limit) => self.value <= limit,
            Target::Ratio(limit) => self.ratio()? <= limit,
            Target::RatioAtLeast(limit) => self.ratio()? >= limit,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.name, number(self.value), self.unit)?;
        if let (Some(beside), Some(ratio)) = (self.beside, self.ratio()) {
            write!(f, "; beside {}; ratio {ratio:.3}", number(beside))?;
        }
        if let (Some(target), Some(met)) = (self.target, self.met()) {
            write!(f, "; target {target}: {}", if met { "met" } else { "missed" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(limit) => write!(f, "≤ {limit}"),
            Self::Ratio(limit) => write!(f, "ratio ≤ {limit}"),
            Self::RatioAtLeast(limit) => write!(f, "ratio ≥ {limit}"),
        }
    }
}

/// With three significant digits or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
