//! The folder of light maps that `calibrate light` writes and `reconstruct` reads: four Parquet tables, and `light.json`
//! with everything else and the tables' checksums.
//!
//! - `maps.parquet`: `type_id`, `u_index`, `v_index`, `coefficient`: the splines of a type's map
//! - `times.parquet`: `type_id`, `u_index`, `v_index`, `time_ns`, `density_per_ns`: its distributions of times
//! - `charges.parquet`: `type_id`, `charge_pe`, `density_per_pe`: its charges of single photoelectrons
//! - `channels.parquet`: `channel_id`, `type_id`, `efficiency`, `time_offset_ns`, `dark_rate_hz`

mod read;
mod write;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::light_maps::{EnergyScale, LightSpeed, Nodes, SplineAxis};

pub use read::read;
pub use write::write_tables;

/// Name of the file that marks a folder of light maps.
pub const MANIFEST: &str = "light.json";
/// Names of the tables.
pub const TABLES: [&str; 4] = [
    "maps.parquet",
    "times.parquet",
    "charges.parquet",
    "channels.parquet",
];
const FORMAT: &str = "nuwave light maps";
const VERSION: u32 = 1;
/// Maximum number of pieces or nodes along an axis of a table.
const MAX_AXIS: usize = 4096;
/// Maximum number of values of a type in a table: twenty times JUNO's.
const MAX_VALUES: usize = 1 << 24;

/// `light.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    nuwave: String,
    command: String,
    detector: String,
    geometry_crc32c: String,
    radius_mm: f64,
    window_ns: f64,
    flight: LightSpeed,
    separation_ns: f64,
    seed: [f64; 2],
    energy: EnergyScale,
    types: Vec<TypeShape>,
    files: Vec<FileSum>,
    /// The summary of the runs by `calibrate light`.
    summary: serde_json::Value,
}

/// The shapes of a type's tables.
#[derive(Debug, Serialize, Deserialize)]
struct TypeShape {
    name: String,
    map_u: SplineAxis,
    map_v: SplineAxis,
    times_u: Nodes,
    times_v: Nodes,
    times: usize,
    charges: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileSum {
    name: String,
    bytes: u64,
    crc32c: String,
}

impl Manifest {
    /// Checks that the numbers are plausible.
    fn check(&self, detector: &Detector, path: &Path) -> Result<()> {
        let bad = |what: &str| Error::input(path, format!("`{what}` is out of range"));
        let positive = |x: f64| x.is_finite() && x > 0.0;
        for (name, value) in [
            ("radius_mm", self.radius_mm),
            ("window_ns", self.window_ns),
            ("flight.inner_ns_per_mm", self.flight.inner_ns_per_mm),
            ("flight.outer_ns_per_mm", self.flight.outer_ns_per_mm),
            ("flight.radius_mm", self.flight.radius_mm.unwrap_or(1.0)),
        ] {
            if !positive(value) {
                return Err(bad(name));
            }
        }
        if !(self.separation_ns.is_finite() && self.separation_ns >= 0.0) {
            return Err(bad("separation_ns"));
        }
        if !self.seed.iter().all(|x| x.is_finite()) {
            return Err(bad("seed"));
        }
        let ascending = |values: &[f64]| {
            values.iter().all(|x| positive(*x)) && values.windows(2).all(|two| two[0] < two[1])
        };
        let energy = &self.energy;
        if !ascending(&energy.deposited_mev)
            || !ascending(&energy.visible_mev)
            || energy.deposited_mev.len() != energy.visible_mev.len()
            || !matches!(energy.response.len(), 0 | 9)
            || !energy.response.iter().all(|x| x.is_finite())
        {
            return Err(bad("energy"));
        }
        for kind in &self.types {
            let axis = |axis: &SplineAxis| {
                axis.low.is_finite()
                    && axis.high.is_finite()
                    && axis.low < axis.high
                    && (1..=MAX_AXIS).contains(&axis.intervals)
            };
            let nodes = |nodes: &Nodes| {
                nodes.low.is_finite()
                    && nodes.high.is_finite()
                    && nodes.low < nodes.high
                    && (2..=MAX_AXIS).contains(&nodes.count)
            };
            // Both factors of each product are limited above, so that it cannot overflow.
            let is_good = axis(&kind.map_u)
                && axis(&kind.map_v)
                && nodes(&kind.times_u)
                && nodes(&kind.times_v)
                && kind.times <= MAX_VALUES
                && kind.charges <= MAX_AXIS
                && kind.map_u.splines() * kind.map_v.splines() <= MAX_VALUES
                && (kind.times_u.count * kind.times_v.count).saturating_mul(kind.times)
                    <= MAX_VALUES;
            if !is_good {
                return Err(bad(&format!("types `{}`", kind.name)));
            }
        }
        // The light of all channels is summed up to the end of the window of the maps.
        let window_ns = detector.readout.window_ns();
        if (self.window_ns - window_ns).abs() > 1e-6 * window_ns {
            return Err(Error::input(
                path,
                format!(
                    "the light maps were made for windows of {} ns, and those of detector `{}` have {window_ns} ns",
                    self.window_ns, detector.name
                ),
            )
            .with_hint("calibrate light with the readout that is to be reconstructed"));
        }
        Ok(())
    }
}
