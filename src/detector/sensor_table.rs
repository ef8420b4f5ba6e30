//! Reads and checks a table of sensors (CSV or HDF5).

use std::collections::BTreeMap;
use std::path::Path;

use super::{PmtType, Sensor, Sensors};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::limits;

/// Maximum size of a table; ten million rows have less.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Upper limit of channel numbers.
const MAX_CHANNEL: u32 = 10_000_000;
/// Maximum distance of a PMT from the centre.
const MAX_DISTANCE_MM: f64 = 1e7;

const HINT: &str = "expected CSV with the columns channel_id (or sensor_id), x_mm, y_mm, z_mm and, with several PMT types, \
                    type; or HDF5 with the arrays sensor_id and sensor_xyz_mm";

/// Reads the table `path`; `types` translates its names of PMT types to those of `pmt_types`.
///
/// # Errors
/// If it cannot be read, a column or value is missing or wrong, or a channel occurs twice. The message names the line.
pub(super) fn read(
    path: &Path,
    types: &BTreeMap<String, String>,
    pmt_types: &[PmtType],
) -> Result<Sensors> {
    let unreadable =
        |error: std::io::Error| usage(path, "the sensor table cannot be read").with_source(error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() || metadata.len() > MAX_FILE_BYTES {
        return Err(usage(path, "is a folder or too large for a sensor table"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let sensors = if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        from_hdf5(path)?
    } else {
        from_csv(path, &bytes, types, pmt_types)?
    };
    if sensors.is_empty() {
        return Err(usage(path, "the sensor table has no rows"));
    }
    for sensor in &sensors {
        let square: f64 = sensor.position_mm.iter().map(|x| x * x).sum();
        if sensor.channel_id >= MAX_CHANNEL {
            return Err(usage(
                path,
                format!(
                    "channel {} is too large, expected less than {MAX_CHANNEL}",
                    sensor.channel_id
                ),
            ));
        }
        // Written so that a position that is NaN is refused.
        if !(square > 0.0 && square.sqrt() < MAX_DISTANCE_MM) {
            return Err(usage(
                path,
                format!(
                    "channel {} is at {:?} mm, expected a position within {MAX_DISTANCE_MM} mm of the centre, but not at it",
                    sensor.channel_id, sensor.position_mm
                ),
            ));
        }
    }
    Sensors::new(sensors).map_err(|channel| {
        usage(path, format!("channel {channel} occurs twice"))
            .with_hint("a channel is one PMT; every row needs a number of its own")
    })
}

fn usage(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::usage(format!("`{}`: {message}", path.display())).with_hint(HINT)
}

fn from_csv(
    path: &Path,
    bytes: &[u8],
    types: &BTreeMap<String, String>,
    pmt_types: &[PmtType],
) -> Result<Vec<Sensor>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(bytes);
    let wrong = |error: csv::Error| usage(path, "the sensor table is not CSV").with_source(error);
    let header = reader.headers().map_err(wrong)?.clone();
    let column = |names: &[&str]| header.iter().position(|name| names.contains(&name));
    let needed = |names: &[&str]| {
        column(names).ok_or_else(|| {
            let found: Vec<_> = header.iter().collect();
            usage(
                path,
                format!("no column `{}` in `{}`", names[0], found.join(",")),
            )
        })
    };
    let channel = needed(&["channel_id", "sensor_id"])?;
    let axes = [needed(&["x_mm"])?, needed(&["y_mm"])?, needed(&["z_mm"])?];
    let type_column = column(&["type"]);
    if type_column.is_none() && pmt_types.len() > 1 {
        return Err(usage(
            path,
            format!(
                "no column `type`, but the detector has {} PMT types",
                pmt_types.len()
            ),
        ));
    }
    let mut sensors = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: usize| record.get(column).unwrap_or("");
        let bad = |column: usize, expected: &str| {
            let name = header.get(column).unwrap_or("");
            usage(
                path,
                format!(
                    "line {line}: `{name}` is `{}`, expected {expected}",
                    field(column)
                ),
            )
        };
        let mut position_mm = [0.0; 3];
        for (value, &axis) in position_mm.iter_mut().zip(&axes) {
            *value = field(axis)
                .parse()
                .map_err(|_| bad(axis, "a number of mm"))?;
        }
        let type_index = match type_column {
            None => 0,
            Some(column) => {
                let name = field(column);
                let name = types.get(name).map_or(name, String::as_str);
                pmt_types
                    .iter()
                    .position(|pmt| pmt.name == name)
                    .ok_or_else(|| {
                        let known: Vec<_> = pmt_types.iter().map(|pmt| pmt.name.as_str()).collect();
                        bad(
                            column,
                            &format!(
                                "one of {}, or a name that `geometry.sensors.types` translates to one",
                                known.join(", ")
                            ),
                        )
                    })?
            }
        };
        sensors.push(Sensor {
            channel_id: field(channel)
                .parse()
                .map_err(|_| bad(channel, "a channel number"))?,
            type_index,
            position_mm,
        });
    }
    Ok(sensors)
}

fn from_hdf5(path: &Path) -> Result<Vec<Sensor>> {
    // The crate that reads HDF5 may panic on a damaged file.
    let (ids, places) = guarded(path, || {
        let unreadable = |error: &dyn std::fmt::Display| {
            usage(path, format!("the sensor table cannot be read: {error}"))
        };
        let file = hdf5_pure::File::open(path).map_err(|error| unreadable(&error))?;
        let array = |name: &str| {
            let dataset = file.dataset(name).map_err(|error| unreadable(&error))?;
            limits::hdf5::check_whole(&dataset, file.file_size())
                .map_err(|reason| unreadable(&format!("`{name}`: {reason}")))?;
            Ok(dataset)
        };
        let ids = array("sensor_id")?.read_i64();
        let places = array("sensor_xyz_mm")?.read_f64();
        Ok((
            ids.map_err(|error| unreadable(&error))?,
            places.map_err(|error| unreadable(&error))?,
        ))
    })?;
    if places.len() != 3 * ids.len() {
        return Err(usage(
            path,
            format!(
                "`sensor_xyz_mm` has {} numbers for {} sensors, expected three each",
                places.len(),
                ids.len()
            ),
        ));
    }
    ids.iter()
        .zip(places.chunks_exact(3))
        .map(|(&id, place)| {
            Ok(Sensor {
                channel_id: u32::try_from(id)
                    .map_err(|_| usage(path, format!("{id} is not a channel number")))?,
                type_index: 0,
                position_mm: [place[0], place[1], place[2]],
            })
        })
        .collect()
}
