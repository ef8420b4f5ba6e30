//! Reads light maps. Everything in them is checked.

use std::path::Path;

use super::{FORMAT, MANIFEST, MAX_AXIS, Manifest, TABLES, VERSION};
use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::io::tables::checksum;
use crate::io::tables::read::stream;
use crate::model::light_maps::{
    ChannelLight, ChargeTable, FROM_NS, LightTables, STEP_NS, STEP_PE, Surface, TimeTable,
    TypeLight,
};

/// Reads the light maps in the folder `dir`, made for `detector`.
///
/// # Errors
/// If a table is missing or damaged, or the maps are those of another detector.
pub fn read(dir: &Path, detector: &Detector) -> Result<LightTables> {
    let sensors = detector.sensors().ok_or_else(|| {
        Error::usage(format!(
            "detector `{}` has no geometry, and light maps need one",
            detector.name
        ))
    })?;
    let path = dir.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let error = Error::input(&path, "cannot be read").with_source(error);
        if dir.is_dir() && !path.exists() {
            error.with_hint(format!(
                "`{}` is not a folder of light maps; `nuwave calibrate light` makes one",
                dir.display()
            ))
        } else {
            error
        }
    })?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| {
        Error::input(
            &path,
            format!("is not a description of light maps: {error}"),
        )
    })?;
    let bad = |what: &str| Error::input(&path, what);
    if manifest.format != FORMAT || manifest.version != VERSION {
        return Err(bad(&format!(
            "holds `{}` version {}, and this nuwave reads `{FORMAT}` version {VERSION}",
            manifest.format, manifest.version
        )));
    }
    if manifest.geometry_crc32c != format!("{:08x}", sensors.crc32c()) {
        return Err(Error::input(
            dir,
            format!(
                "the light maps were made for detector `{}`, whose PMTs stand elsewhere than those of `{}`",
                manifest.detector, detector.name
            ),
        )
        .with_hint(
            "name the detector that the maps were made for, or calibrate this one with `nuwave calibrate light`",
        ));
    }
    let names: Vec<&str> = detector
        .pmt_types
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let found: Vec<&str> = manifest.types.iter().map(|one| one.name.as_str()).collect();
    if names != found {
        return Err(bad(&format!(
            "has the PMT types {found:?}, and detector `{}` has {names:?}",
            detector.name
        )));
    }
    manifest.check(detector, &path)?;
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let (bytes, crc32c) = checksum(&path)
            .map_err(|error| Error::input(&path, "cannot be read").with_source(error))?;
        if (bytes, crc32c.as_str()) != (file.bytes, file.crc32c.as_str()) {
            return Err(Error::input(
                &path,
                "is not the file that `calibrate light` wrote: its checksum differs",
            )
            .with_hint("copy the folder again, or calibrate again"));
        }
    }
    let types = read_types(dir, &manifest)?;
    Ok(LightTables {
        channels: read_channels(&dir.join(TABLES[3]), sensors)?,
        detector: manifest.detector,
        geometry_crc32c: sensors.crc32c(),
        radius_mm: manifest.radius_mm,
        window_ns: manifest.window_ns,
        flight: manifest.flight,
        separation_ns: manifest.separation_ns,
        seed: manifest.seed,
        types,
        energy: manifest.energy,
    })
}

/// The values of one column, by index. Every index must be filled exactly once.
struct Filled<'a> {
    path: &'a Path,
    values: Vec<Option<f64>>,
}

impl<'a> Filled<'a> {
    fn new(path: &'a Path, n: usize) -> Self {
        Self {
            path,
            values: vec![None; n],
        }
    }

    fn put(&mut self, place: Option<usize>, value: f64) -> Result<()> {
        let slot = place.and_then(|place| self.values.get_mut(place));
        match slot {
            Some(slot @ None) => {
                *slot = Some(value);
                Ok(())
            }
            Some(Some(_)) => Err(Error::input(self.path, "has two rows for the same index")),
            None => Err(Error::input(
                self.path,
                format!("has a row for an index that `{MANIFEST}` does not have"),
            )),
        }
    }

    fn all(self) -> Result<Vec<f64>> {
        let n = self.values.len();
        let values: Vec<f64> = self.values.into_iter().flatten().collect();
        if values.len() < n {
            return Err(Error::input(
                self.path,
                format!("lacks {} of {n} rows", n - values.len()),
            ));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::input(self.path, format!("holds {value}"))),
            None => Ok(values),
        }
    }
}

fn read_types(dir: &Path, manifest: &Manifest) -> Result<Vec<TypeLight>> {
    let [maps, times, charges] = [0, 1, 2].map(|table| dir.join(TABLES[table]));
    let types = &manifest.types;
    let cell = |of_type: usize, rows: usize, columns: usize, row: u32, column: u32| {
        let (row, column) = (row as usize, column as usize);
        (row < rows && column < columns).then_some((of_type, row * columns + column))
    };
    let place = |kind: u32| (kind as usize).min(types.len());
    let mut coefficients: Vec<Filled<'_>> = types
        .iter()
        .map(|one| Filled::new(&maps, one.map_u.splines() * one.map_v.splines()))
        .collect();
    each_row(&maps, &["coefficient"], |kind, row, column, values| {
        let kind = place(kind);
        let at = types.get(kind).and_then(|one| {
            let (rows, columns) = (one.map_u.splines(), one.map_v.splines());
            cell(kind, rows, columns, row, column)
        });
        put(&mut coefficients, at, values[0], &maps)
    })?;
    let mut densities: Vec<Filled<'_>> = types
        .iter()
        .map(|one| {
            let n = one.times_u.count * one.times_v.count;
            Filled::new(&times, n * one.times)
        })
        .collect();
    each_row(
        &times,
        &["time_ns", "density_per_ns"],
        |kind, row, column, values| {
            let kind = place(kind);
            let at = types.get(kind).and_then(|one| {
                let (rows, columns) = (one.times_u.count, one.times_v.count);
                let (_, node) = cell(kind, rows, columns, row, column)?;
                let k = ((values[0] - FROM_NS) / STEP_NS).round();
                (0.0..one.times as f64)
                    .contains(&k)
                    .then_some((kind, node * one.times + k as usize))
            });
            put(&mut densities, at, values[1], &times)
        },
    )?;
    let mut spectra: Vec<Filled<'_>> = types
        .iter()
        .map(|one| Filled::new(&charges, one.charges))
        .collect();
    stream(
        &charges,
        &["type_id", "charge_pe", "density_per_pe"],
        |part| {
            let kind: Vec<u32> = part.unsigned("type_id")?;
            let charge_pe = part.doubles("charge_pe")?;
            let density = part.doubles("density_per_pe")?;
            for ((kind, charge_pe), density) in kind.into_iter().zip(charge_pe).zip(density) {
                let k = (charge_pe / STEP_PE).round();
                let at = (k >= 0.0 && k < MAX_AXIS as f64).then_some((kind as usize, k as usize));
                put(&mut spectra, at, density, &charges)?;
            }
            Ok(())
        },
    )?;
    types
        .iter()
        .zip(coefficients)
        .zip(densities.into_iter().zip(spectra))
        .map(|((one, coefficients), (densities, spectrum))| {
            let bad = |path: &Path, what: &str| {
                Error::input(path, format!("PMT type `{}`: {what}", one.name))
            };
            let densities = densities.all()?;
            let rows: Vec<Vec<f64>> = densities
                .chunks(one.times.max(1))
                .map(<[f64]>::to_vec)
                .collect();
            Ok(TypeLight {
                name: one.name.clone(),
                map: Surface {
                    u: one.map_u,
                    v: one.map_v,
                    coefficients: coefficients.all()?,
                },
                times: TimeTable::new(one.times_u, one.times_v, &rows)
                    .ok_or_else(|| bad(&times, "the densities are not valid"))?,
                charges: ChargeTable::new(&spectrum.all()?)
                    .ok_or_else(|| bad(&charges, "the charges are not a valid spectrum"))?,
            })
        })
        .collect()
}

/// Sets a value in the column of its type.
fn put(
    columns: &mut [Filled<'_>],
    at: Option<(usize, usize)>,
    value: f64,
    path: &Path,
) -> Result<()> {
    let (kind, place) = at.map_or((usize::MAX, None), |(kind, place)| (kind, Some(place)));
    match columns.get_mut(kind) {
        Some(column) => column.put(place, value),
        None => Filled::new(path, 0).put(None, value),
    }
}

/// Reads the rows of a table of nodes.
fn each_row(
    path: &Path,
    values: &[&str],
    mut each: impl FnMut(u32, u32, u32, &[f64]) -> Result<()>,
) -> Result<()> {
    let mut columns = vec!["type_id", "u_index", "v_index"];
    columns.extend(values);
    stream(path, &columns, |part| {
        let kind: Vec<u32> = part.unsigned("type_id")?;
        let row: Vec<u32> = part.unsigned("u_index")?;
        let column: Vec<u32> = part.unsigned("v_index")?;
        let values = values
            .iter()
            .map(|name| part.doubles(name))
            .collect::<Result<Vec<_>>>()?;
        let mut of_row = vec![0.0; values.len()];
        for (n, ((kind, row), column)) in kind.into_iter().zip(row).zip(column).enumerate() {
            for (one, values) in of_row.iter_mut().zip(&values) {
                *one = values.get(n).copied().unwrap_or(f64::NAN);
            }
            each(kind, row, column, &of_row)?;
        }
        Ok(())
    })
}

fn read_channels(path: &Path, sensors: &Sensors) -> Result<Vec<ChannelLight>> {
    let mut channels = [(); 3].map(|()| Filled::new(path, sensors.len()));
    let names = ["efficiency", "time_offset_ns", "dark_rate_hz"];
    let columns: Vec<&str> = ["channel_id"].into_iter().chain(names).collect();
    stream(path, &columns, |part| {
        let ids: Vec<u32> = part.unsigned("channel_id")?;
        for (name, column) in names.iter().zip(&mut channels) {
            for (id, value) in ids.iter().zip(part.doubles(name)?) {
                column.put(sensors.index_of(*id), value)?;
            }
        }
        Ok(())
    })?;
    let [efficiency, time_offset_ns, dark_rate_hz] = channels;
    let (efficiency, dark_rate_hz) = (efficiency.all()?, dark_rate_hz.all()?);
    if efficiency.iter().chain(&dark_rate_hz).any(|x| *x < 0.0) {
        return Err(Error::input(
            path,
            "holds a negative efficiency or dark rate",
        ));
    }
    Ok(efficiency
        .into_iter()
        .zip(time_offset_ns.all()?)
        .zip(dark_rate_hz)
        .map(
            |((efficiency, time_offset_ns), dark_rate_hz)| ChannelLight {
                efficiency,
                time_offset_ns,
                dark_per_ns: 1e-9 * dark_rate_hz,
            },
        )
        .collect())
}
