//! CSV files of sources and energy spectra for `nuwave simulate events`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::simulate::{Energy, EventSource, Particle, Vertex};

/// Reads the rows of a CSV file: the named columns as numbers, and the column `particle` if there is one.
pub(super) fn read_csv(path: &Path, columns: &[&str]) -> Result<Vec<(Vec<f64>, Option<String>)>> {
    let wrong = |message: String| {
        Error::usage(format!("`{}`: {message}", path.display())).with_hint(format!(
            "expected CSV with the columns {}",
            columns.join(",")
        ))
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_path(path)
        .map_err(|error| wrong("cannot be read".to_owned()).with_source(error))?;
    let header = reader
        .headers()
        .map_err(|error| wrong("is not CSV".to_owned()).with_source(error))?
        .clone();
    let column_of = |name: &str| header.iter().position(|found| found == name);
    let indices = columns
        .iter()
        .map(|name| column_of(name).ok_or_else(|| wrong(format!("no column `{name}`"))))
        .collect::<Result<Vec<_>>>()?;
    let particle = column_of("particle");
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong("is not CSV".to_owned()).with_source(error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let values = indices
            .iter()
            .zip(columns)
            .map(|(&index, name)| {
                let text = record.get(index).unwrap_or("");
                text.parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| {
                        wrong(format!(
                            "line {line}: `{name}` is `{text}`, expected a number"
                        ))
                    })
            })
            .collect::<Result<Vec<_>>>()?;
        let particle = particle
            .and_then(|index| record.get(index))
            .map(str::to_owned);
        rows.push((values, particle));
    }
    if rows.is_empty() {
        return Err(wrong("has no rows".to_owned()));
    }
    Ok(rows)
}

/// Reads a file of sources: position, energy and number of events per line, and the particle if there is such a column.
pub(super) fn read_sources(path: &Path) -> Result<Vec<EventSource>> {
    read_csv(path, &["x_mm", "y_mm", "z_mm", "energy_mev", "events"])?
        .into_iter()
        .map(|(values, particle)| {
            let particle = match particle.as_deref() {
                None | Some("") => Particle::default(),
                Some(name) => {
                    <Particle as clap::ValueEnum>::from_str(name, true).map_err(|_| {
                        Error::usage(format!(
                            "`{}`: there is no particle `{name}`",
                            path.display()
                        ))
                        .with_hint("particles are electron, gamma and positron")
                    })?
                }
            };
            let events = values[4];
            if !(0.0..=1e12).contains(&events) || events.fract() != 0.0 {
                return Err(Error::usage(format!(
                    "`{}`: the number of events is {events}, expected a whole number",
                    path.display()
                )));
            }
            Ok(EventSource {
                events: events as u64,
                vertex: Vertex::Fixed([values[0], values[1], values[2]]),
                energy: Energy::Fixed(values[3]),
                particle,
            })
        })
        .collect()
}
