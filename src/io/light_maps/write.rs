//! Writes light maps.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt32Array};

use super::{FORMAT, FileSum, Manifest, TABLES, TypeShape, VERSION};
use crate::detector::Sensors;
use crate::error::{Error, Result};
use crate::io::parquet_file::write_table;
use crate::io::tables::checksum;
use crate::model::light_maps::{ChannelLight, FROM_NS, LightTables, STEP_NS, STEP_PE};

/// Writes the tables into `folder` and returns the text of the manifest, which has to be written last.
///
/// # Errors
/// If a file cannot be written.
pub fn write_tables(
    folder: &Path,
    tables: &LightTables,
    sensors: &Sensors,
    command: &str,
    summary: serde_json::Value,
) -> Result<String> {
    write_maps(folder, tables)?;
    write_times(folder, tables)?;
    write_charges(folder, tables)?;
    write_channels(folder, tables, sensors)?;
    let files = TABLES
        .iter()
        .map(|name| {
            let path = folder.join(name);
            let (bytes, crc32c) = checksum(&path)
                .map_err(|error| Error::output(&path, "cannot be read back").with_source(error))?;
            let name = (*name).to_owned();
            Ok(FileSum {
                name,
                bytes,
                crc32c,
            })
        })
        .collect::<Result<_>>()?;
    let types = tables
        .types
        .iter()
        .map(|one| TypeShape {
            name: one.name.clone(),
            map_u: one.map.u,
            map_v: one.map.v,
            times_u: one.times.u,
            times_v: one.times.v,
            times: one.times.densities().first().map_or(0, Vec::len),
            charges: one.charges.single().len(),
        })
        .collect();
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        nuwave: env!("CARGO_PKG_VERSION").to_owned(),
        command: command.to_owned(),
        detector: tables.detector.clone(),
        geometry_crc32c: format!("{:08x}", tables.geometry_crc32c),
        radius_mm: tables.radius_mm,
        window_ns: tables.window_ns,
        flight: tables.flight,
        separation_ns: tables.separation_ns,
        seed: tables.seed,
        energy: tables.energy.clone(),
        types,
        files,
        summary,
    };
    serde_json::to_string_pretty(&manifest)
        .map_err(|error| Error::internal(format!("the light maps: {error}")))
}

fn floats(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn ids(values: Vec<u32>) -> ArrayRef {
    Arc::new(UInt32Array::from(values))
}

fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> Result<()> {
    let path = folder.join(name);
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, false));
    let records = RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::output(&path, "cannot be written").with_source(error))?;
    write_table(&path, &records)
}

fn write_maps(folder: &Path, tables: &LightTables) -> Result<()> {
    let (mut kind, mut row, mut column, mut value) = (vec![], vec![], vec![], vec![]);
    for (number, one) in (0..).zip(&tables.types) {
        let width = one.map.v.splines();
        for (place, coefficient) in one.map.coefficients.iter().enumerate() {
            kind.push(number);
            row.push((place / width) as u32);
            column.push((place % width) as u32);
            value.push(*coefficient);
        }
    }
    write(
        folder,
        TABLES[0],
        vec![
            ("type_id", ids(kind)),
            ("u_index", ids(row)),
            ("v_index", ids(column)),
            ("coefficient", floats(value)),
        ],
    )
}

fn write_times(folder: &Path, tables: &LightTables) -> Result<()> {
    let (mut kind, mut row, mut column) = (vec![], vec![], vec![]);
    let (mut time, mut value) = (vec![], vec![]);
    for (number, one) in (0..).zip(&tables.types) {
        let width = one.times.v.count;
        for (node, densities) in one.times.densities().iter().enumerate() {
            for (k, density) in densities.iter().enumerate() {
                kind.push(number);
                row.push((node / width) as u32);
                column.push((node % width) as u32);
                time.push(FROM_NS + STEP_NS * k as f64);
                // Single precision is far below the statistical error, and a third of the size.
                value.push(f64::from(*density as f32));
            }
        }
    }
    write(
        folder,
        TABLES[1],
        vec![
            ("type_id", ids(kind)),
            ("u_index", ids(row)),
            ("v_index", ids(column)),
            ("time_ns", floats(time)),
            ("density_per_ns", floats(value)),
        ],
    )
}

fn write_charges(folder: &Path, tables: &LightTables) -> Result<()> {
    let (mut kind, mut charge, mut value) = (vec![], vec![], vec![]);
    for (number, one) in (0..).zip(&tables.types) {
        for (k, density) in one.charges.single().iter().enumerate() {
            kind.push(number);
            charge.push(STEP_PE * k as f64);
            value.push(*density);
        }
    }
    write(
        folder,
        TABLES[2],
        vec![
            ("type_id", ids(kind)),
            ("charge_pe", floats(charge)),
            ("density_per_pe", floats(value)),
        ],
    )
}

fn write_channels(folder: &Path, tables: &LightTables, sensors: &Sensors) -> Result<()> {
    let of = |value: fn(&ChannelLight) -> f64| tables.channels.iter().map(value).collect();
    let all = sensors.all();
    write(
        folder,
        TABLES[3],
        vec![
            (
                "channel_id",
                ids(all.iter().map(|one| one.channel_id).collect()),
            ),
            (
                "type_id",
                ids(all.iter().map(|one| one.type_index as u32).collect()),
            ),
            ("efficiency", floats(of(|one| one.efficiency))),
            ("time_offset_ns", floats(of(|one| one.time_offset_ns))),
            ("dark_rate_hz", floats(of(|one| 1e9 * one.dark_per_ns))),
        ],
    )
}
