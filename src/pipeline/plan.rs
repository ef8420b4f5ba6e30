//! The plan of a run: its units, and the selection of them that this run does.
//!
//! A unit is a block of whole events of one input: every sequence of waveforms of one event whose first waveform is at one of the
//! block's positions. Units follow from the inputs alone, so that runs on different machines agree on them.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::facts::Expected;
use crate::error::{Error, Result};
use crate::io::{Extent, SourceInfo};
use crate::model::Polarity;

/// Samples per unit of waveforms: half a GiB of 16-bit counts, a second or two for one core.
const UNIT_SAMPLES: u64 = 1 << 28;
/// Hits per unit where events are made from hits: some seconds for one core.
const UNIT_HITS: u64 = 1 << 22;

/// Maximum number of units per input; beyond it units become larger.
pub(super) const MAX_UNITS: u32 = 100_000;

/// An input and its division into units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedInput {
    /// The file as given.
    pub path: PathBuf,
    /// Its format.
    pub format: String,
    /// The location of the waveforms in it.
    pub layout: String,
    /// Size.
    pub bytes: u64,
    /// Time of the last write, in ns since 1970; with [`changed_ns`](Self::changed_ns) the quick check that the file is unchanged.
    pub modified_ns: Option<u64>,
    /// Time of the last change of content or metadata.
    pub changed_ns: Option<u64>,
    /// CRC32C of a table of hits. For waveforms each unit computes that of its share.
    pub crc32c: Option<String>,
    /// Interval between samples, as used; absent for hits.
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses, as used; absent for hits.
    pub polarity: Option<Polarity>,
    /// Resolution of the digitizer, as used; absent for hits and where it is unknown.
    pub adc_bits: Option<u32>,
    /// The facts about the waveforms that detector and calibration state; absent for hits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<Expected>,
    /// The input's number in a table of hits that distinguishes several inputs.
    pub input_of_table: Option<u32>,
    /// Waveforms, or hits, where the format says so.
    pub rows: Option<u64>,
    /// Positions (rows or bytes) of a unit.
    pub unit_size: u64,
    /// Number of units.
    pub units: u32,
    /// The reason why it cannot be read at all; it has no units then.
    pub unusable: Option<String>,
}

impl PlannedInput {
    /// Plans a file of waveforms, in units of about `unit_waveforms` if given.
    #[must_use]
    pub fn from_waveforms(info: &SourceInfo, unit_waveforms: Option<u64>) -> Self {
        let Extent {
            end,
            per_waveform,
            samples,
        } = info.extent;
        let waveforms = unit_waveforms.unwrap_or(UNIT_SAMPLES / samples);
        let unit_size = waveforms.max(1).saturating_mul(per_waveform);
        Self {
            format: info.format.to_owned(),
            layout: info.layout.clone(),
            bytes: info.n_bytes,
            rows: info.n_waveforms,
            ..Self::divided(&info.path, end, unit_size)
        }
    }

    /// Plans `n_hits` hits of the table `info`, in units of `unit_hits` if given.
    #[must_use]
    pub fn from_hits(info: &SourceInfo, n_hits: u64, unit_hits: Option<u64>) -> Self {
        Self {
            format: info.format.to_owned(),
            layout: info.layout.clone(),
            bytes: info.n_bytes,
            rows: Some(n_hits),
            ..Self::divided(&info.path, n_hits, unit_hits.unwrap_or(UNIT_HITS).max(1))
        }
    }

    /// Plans a file that cannot be read.
    #[must_use]
    pub fn unusable(path: &Path, reason: String) -> Self {
        Self {
            units: 0,
            unusable: Some(reason),
            ..Self::divided(path, 0, 1)
        }
    }

    fn divided(path: &Path, end: u64, unit_size: u64) -> Self {
        let unit_size = unit_size.max(end.div_ceil(u64::from(MAX_UNITS)));
        let (modified_ns, changed_ns) = times_of(path);
        Self {
            path: path.to_owned(),
            format: String::new(),
            layout: String::new(),
            bytes: 0,
            modified_ns,
            changed_ns,
            crc32c: None,
            sampling_ns: None,
            polarity: None,
            adc_bits: None,
            expected: None,
            input_of_table: None,
            rows: None,
            unit_size,
            units: u32::try_from(end.div_ceil(unit_size).max(1)).unwrap_or(u32::MAX),
            unusable: None,
        }
    }

    /// Returns the positions of unit `block`; the last unit extends to the end of the file.
    #[must_use]
    pub fn positions(&self, block: u32) -> Range<u64> {
        let end = if block + 1 >= self.units {
            u64::MAX
        } else {
            u64::from(block + 1) * self.unit_size
        };
        u64::from(block) * self.unit_size..end
    }

    /// Returns the bytes of the file whose checksum unit `block` computes: an even share; together the units have each byte
    /// once.
    #[must_use]
    pub fn bytes_of(&self, block: u32) -> Range<u64> {
        let units = u128::from(self.units.max(1));
        let at = |block: u32| (u128::from(self.bytes) * u128::from(block) / units) as u64;
        at(block)..at(block + 1)
    }

    /// Returns how the file differs from the planned one, if it was written to since.
    #[must_use]
    pub fn difference(&self) -> Option<String> {
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("it is gone ({error})")),
        };
        // Size and times of a folder do not change with the contents of its files; its checksum was computed by the plan.
        if now.is_dir() {
            return None;
        }
        if now.len() != self.bytes {
            let what = if now.len() > self.bytes {
                "grew"
            } else {
                "shrank"
            };
            return Some(format!(
                "it {what} from {} to {} bytes",
                self.bytes,
                now.len()
            ));
        }
        (times_of(&self.path) != (self.modified_ns, self.changed_ns))
            .then(|| "it was written to".to_owned())
    }
}

/// Returns the times of the last write and of the last change of a file.
fn times_of(path: &Path) -> (Option<u64>, Option<u64>) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return (None, None);
    };
    let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
    let modified = metadata.modified().ok().and_then(since);
    let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok());
    #[cfg(unix)]
    let changed = {
        use std::os::unix::fs::MetadataExt as _;
        let ns = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        u64::try_from(ns).ok()
    };
    #[cfg(not(unix))]
    let changed = None;
    (modified, changed)
}

/// The name of a unit: its input and its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// Index of the input.
    pub input_id: u32,
    /// Index of the block in the input.
    pub block: u32,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}-{:05}", self.input_id, self.block)
    }
}

/// Returns all units of `inputs`, in order.
pub fn units(inputs: &[PlannedInput]) -> impl Iterator<Item = Unit> + '_ {
    inputs.iter().enumerate().flat_map(|(place, input)| {
        let input_id = place as u32;
        (0..input.units).map(move |block| Unit { input_id, block })
    })
}

/// The units that a run does. They are consecutive, so that two runs share at most one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Every unit.
    #[default]
    All,
    /// Part `index` (from 1) of `of` parts whose sizes differ by at most one unit.
    Shard {
        /// The part, from 1.
        index: u64,
        /// The number of parts.
        of: u64,
    },
    /// Units `from..to`.
    Units {
        /// First unit.
        from: u64,
        /// One past the last unit.
        to: u64,
    },
}

impl Selection {
    /// Returns the indices of the selected units among `total`.
    ///
    /// # Errors
    /// If there are fewer units than it names.
    pub fn range(self, total: u64) -> Result<Range<u64>> {
        match self {
            Self::All => Ok(0..total),
            Self::Shard { index, of } => {
                let of = u128::from(of.max(1));
                let at = |k: u64| (u128::from(total) * u128::from(k) / of) as u64;
                Ok(at(index.saturating_sub(1))..at(index))
            }
            Self::Units { from, to } if to <= total => Ok(from..to),
            Self::Units { from, to } => Err(Error::usage(format!(
                "the units {from}:{to} are selected, and there are only {total}"
            ))
            .with_hint("`nuwave plan` prints them")),
        }
    }

    /// Parses a shard, as `2/7`.
    ///
    /// # Errors
    /// If the text is not a shard.
    pub fn parse_shard(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "expected I/N with 1 <= I <= N, as `2/7`".to_owned();
        let (index, of) = pair(text, '/').ok_or_else(wrong)?;
        if index == 0 || index > of {
            return Err(wrong());
        }
        Ok(Self::Shard { index, of })
    }

    /// Parses a range of units: `3:9` selects 3 to 8.
    ///
    /// # Errors
    /// If the text is not a range.
    pub fn parse_units(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "expected A:B with A < B, as `3:9` for the units 3 to 8".to_owned();
        let (from, to) = pair(text, ':')
            .filter(|(from, to)| from < to)
            .ok_or_else(wrong)?;
        Ok(Self::Units { from, to })
    }
}

fn pair(text: &str, separator: char) -> Option<(u64, u64)> {
    let (first, second) = text.split_once(separator)?;
    Some((first.trim().parse().ok()?, second.trim().parse().ok()?))
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Shard { index, of } => write!(f, "shard {index}/{of}"),
            Self::Units { from, to } => write!(f, "units {from}:{to}"),
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(' ') {
            None if text == "all" => Ok(Self::All),
            Some(("shard", shard)) => Self::parse_shard(shard),
            Some(("units", units)) => Self::parse_units(units),
            _ => Err(format!("`{text}` is not a selection of units")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn shards_share_out_all_units(total in 0u64..1000, of in 1u64..50) {
            let mut next = 0;
            for index in 1..=of {
                let range = Selection::Shard { index, of }.range(total).expect("a range");
                proptest::prop_assert_eq!(range.start, next);
                proptest::prop_assert!(range.end - range.start <= total / of + 1);
                next = range.end;
            }
            proptest::prop_assert_eq!(next, total);
        }

        #[test]
        fn units_share_out_positions_and_bytes(end in 0u64..10_000, unit in 1u64..500, bytes: u32) {
            let mut input = PlannedInput::divided(Path::new("none"), end, unit);
            input.bytes = u64::from(bytes);
            let (mut position, mut byte) = (0, 0);
            for block in 0..input.units {
                let (positions, bytes) = (input.positions(block), input.bytes_of(block));
                proptest::prop_assert_eq!((positions.start, bytes.start), (position, byte));
                (position, byte) = (positions.end, bytes.end);
            }
            proptest::prop_assert_eq!((position, byte), (u64::MAX, input.bytes));
        }
    }

    #[test]
    fn what_is_typed_is_understood_or_refused() {
        assert_eq!(
            Selection::parse_shard("2/7"),
            Ok(Selection::Shard { index: 2, of: 7 })
        );
        assert_eq!(
            Selection::parse_units("3:9"),
            Ok(Selection::Units { from: 3, to: 9 })
        );
        for wrong in ["0/3", "4/3", "1/0", "-1/2", "a/b", "3", ""] {
            assert!(Selection::parse_shard(wrong).is_err(), "{wrong}");
        }
        for wrong in ["3:3", "9:3", ":3", "3:", "1/2"] {
            assert!(Selection::parse_units(wrong).is_err(), "{wrong}");
        }
        for selection in ["all", "shard 2/7", "units 3:9"] {
            let parsed: Selection = selection.parse().expect("a selection");
            assert_eq!(parsed.to_string(), selection);
        }
        assert!(Selection::Units { from: 3, to: 9 }.range(8).is_err());
    }
}
