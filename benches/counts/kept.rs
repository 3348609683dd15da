use std::collections::BTreeMap;
use std::io::ErrorKind;

use foreman_client::BoxError;
use serde::{Deserialize, Serialize};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.json");

/// The parts by which allocations may differ. How many reads a message takes varies a little.
pub(super) const ALLOCATIONS: f64 = 0.02;
/// The same for instructions, which depend on hash seeds and on when a socket is ready.
pub(super) const INSTRUCTIONS: f64 = 0.05;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) allocations: f64,
    pub(super) instructions: Option<f64>,
}

/// The counts of `benches/counts.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept(BTreeMap<String, Counts>);

impl Kept {
    pub(super) fn read() -> Result<Self, BoxError> {
        match std::fs::read(PATH) {
            Ok(json) => Ok(serde_json::from_slice(&json)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Counts> {
        self.0.get(name).copied()
    }

    /// Instructions that were not counted stay as they are.
    pub(super) fn set(&mut self, name: &str, counts: Counts) {
        let before = self.get(name).and_then(|counts| counts.instructions);
        let instructions = counts.instructions.or(before).map(f64::round);
        let allocations = (counts.allocations * 100.0).round() / 100.0;
        self.0.insert(name.to_owned(), Counts { allocations, instructions });
    }

    pub(super) fn write(&self) -> Result<(), BoxError> {
        Ok(std::fs::write(PATH, serde_json::to_string_pretty(self)? + "\n")?)
    }
}
