//! The manifest of a run: version, settings, inputs and selection, and how two manifests differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::{PlannedInput, Selection, Unit, units};
use super::record::{RangeChecksum, UnitRecord};
use crate::error::{Error, Result};

/// Everything that determines the result of a run. Runs with equal manifests make equal units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// nuwave's version.
    pub nuwave: String,
    /// The commit that nuwave was built from.
    #[serde(default)]
    pub commit: String,
    /// [`crate::RESULTS_VERSION`] of that commit.
    #[serde(default)]
    pub results_version: u32,
    /// `waveforms` or `hits`.
    pub from: String,
    /// The settings that the result depends on.
    pub configuration: serde_json::Value,
    /// Checksums of the files that the settings name: calibration, detector, geometry, light maps.
    pub sums: BTreeMap<String, String>,
    /// The units that the run does.
    pub selection: String,
    /// The inputs.
    pub inputs: Vec<PlannedInput>,
}

impl RunManifest {
    /// Returns the units that the run does, in order.
    ///
    /// # Errors
    /// If the selection cannot be parsed, or names more units than there are.
    pub fn units(&self) -> Result<Vec<Unit>> {
        let selection: Selection = self.selection.parse().map_err(Error::usage)?;
        let all: Vec<Unit> = units(&self.inputs).collect();
        let range = selection.range(all.len() as u64)?;
        let selected = all.get(range.start as usize..range.end as usize);
        Ok(selected.unwrap_or_default().to_vec())
    }

    /// Returns how this differs from `other`, the existing one, in everything but the inputs; `None` if it does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let was = |what: &str, there: &str, here: &str| format!("{what} was {there}, is {here}");
        let results = [other, self].map(|manifest| manifest.results_version.to_string());
        for (what, there, here) in [
            ("nuwave", &other.nuwave, &self.nuwave),
            ("the results version", &results[0], &results[1]),
            ("the commit of nuwave", &other.commit, &self.commit),
            ("the kind of input", &other.from, &self.from),
            ("the selection of units", &other.selection, &self.selection),
        ] {
            if there != here {
                return Some(was(what, there, here));
            }
        }
        let none = serde_json::Map::new();
        let there = other.configuration.as_object().unwrap_or(&none);
        let here = self.configuration.as_object().unwrap_or(&none);
        let say = |value: Option<&serde_json::Value>| {
            value.map_or_else(|| "not set".to_owned(), ToString::to_string)
        };
        for key in there.keys().chain(here.keys()) {
            if there.get(key) != here.get(key) {
                let what = format!("the setting `{key}`");
                return Some(was(&what, &say(there.get(key)), &say(here.get(key))));
            }
        }
        for key in other.sums.keys().chain(self.sums.keys()) {
            if other.sums.get(key) != self.sums.get(key) {
                let say = |sums: &BTreeMap<String, String>| {
                    let sum = sums.get(key);
                    sum.map_or_else(|| "absent".to_owned(), |sum| format!("CRC32C {sum}"))
                };
                return Some(was(
                    &format!("the {key}"),
                    &say(&other.sums),
                    &say(&self.sums),
                ));
            }
        }
        None
    }

    /// Returns how this differs from `other`, which the finished units in `records` were made with; `None` if it does not.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub(super) fn difference_of_all(
        &self,
        other: &Self,
        records: &BTreeMap<Unit, UnitRecord>,
    ) -> Result<Option<String>> {
        match self.difference(other) {
            Some(difference) => Ok(Some(difference)),
            None => self.difference_of_inputs(other, records),
        }
    }

    /// Returns how the inputs differ from those that the finished units in `records` were made from; `None` if they do not.
    /// Inputs without a finished unit may differ.
    ///
    /// # Errors
    /// If an input cannot be read.
    fn difference_of_inputs(
        &self,
        other: &Self,
        records: &BTreeMap<Unit, UnitRecord>,
    ) -> Result<Option<String>> {
        let mut selected = self.units()?;
        selected.sort_unstable();
        for (unit, record) in records {
            // Inputs without a finished unit may have more or fewer units now, which moves the units of a shard.
            if selected.binary_search(unit).is_err() {
                return Ok(Some(format!(
                    "unit {unit} is finished and no longer belongs to {}",
                    self.selection
                )));
            }
            let place = record.done.input_id as usize;
            let (Some(there), here) = (other.inputs.get(place), self.inputs.get(place)) else {
                return Ok(Some(format!("input {place} is not known")));
            };
            let name = there.path.display();
            let Some(here) = here.filter(|here| here.path == there.path) else {
                let is = here.map_or("absent".to_owned(), |here| {
                    format!("`{}`", here.path.display())
                });
                return Ok(Some(format!("input {place} was `{name}`, is {is}")));
            };
            if here.bytes != there.bytes {
                return Ok(Some(format!(
                    "`{name}` had {} bytes, has {}",
                    there.bytes, here.bytes
                )));
            }
            if here.crc32c != there.crc32c {
                return Ok(Some(format!("the content of `{name}` has changed")));
            }
            let divided = |input: &PlannedInput| (input.unit_size, input.units);
            if divided(here) != divided(there) || here.format != there.format {
                return Ok(Some(format!("`{name}` is divided into other units")));
            }
            let used = |input: &PlannedInput| (input.sampling_ns, input.polarity, input.adc_bits);
            if used(here) != used(there) {
                return Ok(Some(format!(
                    "the sampling interval, polarity or resolution of `{name}` has changed"
                )));
            }
            let times = |input: &PlannedInput| (input.modified_ns, input.changed_ns);
            if times(here) != times(there)
                && let Some(sum) = &record.done.read
                && RangeChecksum::from_file(&here.path, sum.first..sum.end)? != *sum
            {
                return Ok(Some(format!(
                    "the content of `{name}` has changed (bytes {} to {})",
                    sum.first, sum.end
                )));
            }
        }
        Ok(None)
    }
}
