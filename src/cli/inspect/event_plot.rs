//! `nuwave inspect --event ID --plot`: the event display of one event of a table of hits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::waveform_plot::PlotArgs;
use crate::cli::Verbosity;
use crate::cli::args::{InputArgs, detector_of_report};
use crate::detector::{self, Detector, Sensors};
use crate::error::{Error, Result};
use crate::io::atomic::AtomicFile;
use crate::io::{self, ReadOptions, hits, tables};
use crate::model::{ChannelHit, Event, TrueEvent};
use crate::plot::event_display::{DisplaySensor, EventDisplay, event_svg};
use crate::text::thousands;

/// Maximum number of events named in an error message.
const NAMED: usize = 5;

/// The content of a path.
struct Content {
    /// The table of hits.
    hits: PathBuf,
    /// The input of `hits` to use; `None` for all.
    input_of_hits: Option<u32>,
    /// The reconstructed event, if there is one.
    event: Option<Event>,
    /// The detector named there.
    detector: Option<String>,
    /// Name of the input that the event comes from.
    name: String,
}

/// Draws the event that `plot` chooses from `path`: an output folder of `reconstruct`, or a table of hits.
pub(super) fn draw(
    path: &Path,
    plot: &PlotArgs,
    typed: Option<&str>,
    input: &InputArgs,
    verbosity: Verbosity,
) -> Result<()> {
    let Some(output) = &plot.plot else {
        return Ok(());
    };
    if plot.channel.is_some() {
        return Err(Error::usage(format!(
            "`--channel` chooses waveforms, and `{}` holds none",
            path.display()
        ))
        .with_hint("an event display shows all channels; leave it out"));
    }
    let content = content(path, plot)?;
    let detector = geometry(path, typed.or(content.detector.as_deref()))?;
    let Some(sensors) = detector.sensors() else {
        return Err(no_geometry(&detector));
    };
    let options = if content.hits == path {
        input.hit_options()?
    } else {
        ReadOptions::default()
    };
    let Some(event_id) = plot.event else {
        let (_, known) = hits_of(&content, &options, None)?;
        return Err(
            Error::usage("`--plot` of hits draws one event: `--event` is missing")
                .with_hint(format!("give `--event ID`; {}", first_of(&known))),
        );
    };
    let (own, known) = hits_of(&content, &options, Some(event_id))?;
    if own.is_empty() && content.event.is_none() {
        let near = nearest(&known, event_id);
        return Err(Error::input(path, format!("there is no event {event_id}"))
            .with_hint(format!("{}{near}", first_of(&known))));
    }
    let truth = plot
        .truth
        .as_deref()
        .map(|truth| true_event(truth, event_id))
        .transpose()?;
    let display = event_display(
        &content.name,
        &detector,
        sensors,
        event_id,
        &own,
        content.event,
        truth,
    );
    let svg = event_svg(&display)?;
    let mut file = AtomicFile::create(output)?;
    file.file_mut()
        .write_all(svg.as_bytes())
        .map_err(|error| Error::output(output, "cannot be written").with_source(error))?;
    file.commit()?;
    if !verbosity.quiet {
        status!("drew event {event_id} into `{}`", output.display());
    }
    Ok(())
}

/// Returns tables and detector of `path`; for an output folder that was made from hits, these hits.
fn content(path: &Path, plot: &PlotArgs) -> Result<Content> {
    if !path.join("report.json").exists() {
        return Ok(Content {
            hits: path.to_owned(),
            input_of_hits: plot.input_id,
            event: None,
            detector: None,
            name: super::file_name(path),
        });
    }
    let report = tables::read::read_report(path)?;
    let events_at = path.join("events");
    let mut event = None;
    if let Some(wanted) = plot.event.filter(|_| events_at.is_dir()) {
        let rows = tables::events::read(&events_at)?;
        let of_event: Vec<_> = rows
            .iter()
            .filter(|(input, row)| {
                row.event_id == wanted && plot.input_id.is_none_or(|chosen| chosen == *input)
            })
            .collect();
        if let [(first, _), (second, _), ..] = of_event.as_slice() {
            return Err(Error::input(
                path,
                format!(
                    "event {wanted} is there more than once, in input {first} and in input {second}"
                ),
            )
            .with_hint("choose one with `--input-id N`"));
        }
        event = of_event.first().map(|row| **row);
    }
    let input_id = plot.input_id.or(event.map(|(input, _)| input));
    let (hits, input_of_hits) = if path.join("hits").is_dir() {
        (path.join("hits"), input_id)
    } else {
        origin(path, &report, input_id.unwrap_or(0))?
    };
    Ok(Content {
        hits,
        input_of_hits,
        event: event.map(|(_, event)| event),
        detector: detector_of_report(&report),
        name: report
            .pointer(&format!("/inputs/{}/path", input_id.unwrap_or(0)))
            .and_then(serde_json::Value::as_str)
            .map_or_else(
                || super::file_name(path),
                |input| super::file_name(Path::new(input)),
            ),
    })
}

/// Returns the hits that input `input_id` of a folder without hits was made from, and its input in that table.
fn origin(dir: &Path, report: &serde_json::Value, input_id: u32) -> Result<(PathBuf, Option<u32>)> {
    let input = report.pointer(&format!("/inputs/{input_id}"));
    let of = |key: &str| input.and_then(|input| input.get(key));
    let path = of("path").and_then(serde_json::Value::as_str);
    let hint = "the folder has events only; give the hits it was made from, as `nuwave inspect HITS.parquet --event ID --plot OUT.svg`";
    let path = PathBuf::from(path.ok_or_else(|| {
        Error::input(dir, format!("the report has no input {input_id}")).with_hint(hint)
    })?);
    if !path.exists() {
        return Err(Error::input(
            dir,
            format!(
                "holds no hits, and `{}`, which it was made from, is not there",
                path.display()
            ),
        )
        .with_hint(hint));
    }
    let within = of("input_of_table")
        .and_then(serde_json::Value::as_u64)
        .and_then(|input| u32::try_from(input).ok());
    Ok((path, within))
}

fn geometry(path: &Path, named: Option<&str>) -> Result<Detector> {
    let named = named.ok_or_else(|| {
        Error::usage(format!(
            "`{}` does not say which detector it comes from, and an event display needs the positions of the PMTs",
            path.display()
        ))
        .with_hint("give `--detector NAME|FILE`, one with a geometry (`nuwave detector` lists the presets)")
    })?;
    let detector = detector::load(named)?;
    if detector.sensors().is_none() {
        return Err(no_geometry(&detector));
    }
    Ok(detector)
}

fn no_geometry(detector: &Detector) -> Error {
    Error::usage(format!(
        "detector `{}` has no geometry, and an event display needs the positions of the PMTs",
        detector.name
    ))
    .with_hint("add `[geometry]` to the detector file, as `nuwave detector juno` shows it, or name another with `--detector`")
}

/// Returns the hits of event `wanted`, and the numbers of all events with hits.
fn hits_of(
    content: &Content,
    options: &ReadOptions,
    wanted: Option<u64>,
) -> Result<(Vec<ChannelHit>, BTreeSet<u64>)> {
    let source = if content.hits.ends_with("hits") && content.hits.is_dir() {
        hits::open_tables(&content.hits, &content.hits, None)?
    } else {
        hits::open(&content.hits, options)?
    };
    let mut rows = source.hits()?;
    let (mut own, mut known) = (Vec::new(), BTreeSet::new());
    let mut input_of_own = None;
    while let Some(block) = rows.next_block()? {
        for row in block {
            let (input, event) = row.event;
            if content.input_of_hits.is_some_and(|chosen| chosen != input) {
                continue;
            }
            known.insert(event);
            if wanted != Some(event) {
                continue;
            }
            if *input_of_own.get_or_insert(input) != input {
                return Err(Error::input(
                    &content.hits,
                    format!("event {event} is in more than one input"),
                )
                .with_hint("choose one with `--input-id N`"));
            }
            own.push(row.hit);
        }
    }
    Ok((own, known))
}

fn first_of(known: &BTreeSet<u64>) -> String {
    if known.is_empty() {
        return "there is no event with hits".to_owned();
    }
    let first: Vec<String> = known.iter().take(NAMED).map(u64::to_string).collect();
    let more = if known.len() > NAMED {
        format!(" and {} more", thousands((known.len() - NAMED) as u64))
    } else {
        String::new()
    };
    format!("its events are {}{more}", first.join(", "))
}

/// Returns the text for the nearest events on both sides of `wanted`.
fn nearest(known: &BTreeSet<u64>, wanted: u64) -> String {
    let below = known.range(..wanted).next_back();
    let above = known.range(wanted..).next();
    match (below, above) {
        (Some(below), Some(above)) => format!("; the nearest are {below} and {above}"),
        (Some(one), None) | (None, Some(one)) => format!("; the nearest is {one}"),
        (None, None) => String::new(),
    }
}

fn true_event(path: &Path, event_id: u64) -> Result<TrueEvent> {
    let truth = io::read_truth(path)?;
    let found = truth.events.iter().find(|event| event.event_id == event_id);
    found.copied().ok_or_else(|| {
        let hint = if truth.events.is_empty() {
            "it has photoelectrons only; true events are in `NAME.truth-events.parquet` next to it"
        } else {
            "is this the truth of the file that was reconstructed?"
        };
        Error::input(path, format!("the truth has no event {event_id}")).with_hint(hint)
    })
}

fn event_display(
    name: &str,
    detector: &Detector,
    sensors: &Sensors,
    event_id: u64,
    hits: &[ChannelHit],
    event: Option<Event>,
    truth: Option<TrueEvent>,
) -> EventDisplay {
    let mut light: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    let (mut unknown, mut bad) = (0, 0);
    for hit in hits {
        let Some(index) = sensors.index_of(hit.channel_id) else {
            unknown += 1;
            continue;
        };
        if !(hit.time_ns.is_finite() && hit.charge_pe.is_finite()) {
            bad += 1;
            continue;
        }
        let (time_ns, charge_pe) = (hit.time_ns, f64::from(hit.charge_pe));
        let sum = light.entry(index).or_insert((0.0, time_ns));
        sum.0 += charge_pe;
        sum.1 = sum.1.min(time_ns);
    }
    let total_pe: f64 = light.values().map(|(charge_pe, _)| charge_pe).sum();
    let mut subtitle = format!(
        "{}: {} of {} PMTs hit, {} hits, {total_pe:.1} PE",
        detector.name,
        thousands(light.len() as u64),
        thousands(sensors.len() as u64),
        thousands(hits.len() as u64),
    );
    // Writing to a `String` cannot fail.
    if unknown > 0 {
        let _ = write!(
            subtitle,
            "; {unknown} hits of channels without a position are not drawn"
        );
    }
    if bad > 0 {
        let _ = write!(
            subtitle,
            "; {bad} hits without a finite time and charge are not drawn"
        );
    }
    let sensors = sensors
        .all()
        .iter()
        .enumerate()
        .map(|(index, sensor)| {
            let own = light.get(&index);
            DisplaySensor {
                position_mm: sensor.position_mm,
                charge_pe: own.map_or(0.0, |(charge_pe, _)| *charge_pe),
                first_ns: own.map(|(_, first_ns)| *first_ns),
            }
        })
        .collect();
    EventDisplay {
        title: format!("Event {event_id} of {name}"),
        subtitle,
        sensors,
        found_mm: event
            .map(|event| [event.x_mm, event.y_mm, event.z_mm])
            .filter(|vertex| vertex.iter().all(|value| value.is_finite())),
        true_mm: truth.map(|truth| [truth.x_mm, truth.y_mm, truth.z_mm]),
        caption: caption(event.as_ref(), truth.as_ref()),
    }
}

/// Returns the reconstructed and the true values, one line each.
fn caption(event: Option<&Event>, truth: Option<&TrueEvent>) -> Vec<String> {
    let with_sigma = |name: &str, value: f64, sigma: f64, decimals: usize, unit: &str| {
        if !value.is_finite() {
            return format!("{name} not known");
        }
        let value = format!("{value:.decimals$}").replace('-', "\u{2212}");
        if sigma.is_finite() {
            format!("{name} = {value} \u{b1} {sigma:.decimals$} {unit}")
        } else {
            format!("{name} = {value} {unit}")
        }
    };
    let mut lines = Vec::new();
    match event {
        Some(event) => {
            let found = [
                with_sigma("x", event.x_mm, event.x_sigma_mm, 0, "mm"),
                with_sigma("y", event.y_mm, event.y_sigma_mm, 0, "mm"),
                with_sigma("z", event.z_mm, event.z_sigma_mm, 0, "mm"),
                with_sigma("t", event.time_ns, event.time_sigma_ns, 1, "ns"),
                with_sigma("E", event.energy_mev, event.energy_sigma_mev, 3, "MeV"),
            ];
            lines.push(format!("found: {}", found.join(", ")));
            let flags: Vec<&str> = event.flags.names().collect();
            let flags = if flags.is_empty() {
                "none".to_owned()
            } else {
                flags.join(", ").replace('_', " ")
            };
            lines.push(format!("flags: {flags}"));
        }
        None => lines.push("no event was reconstructed here".to_owned()),
    }
    if let Some(truth) = truth {
        let all = [
            with_sigma("x", truth.x_mm, f64::NAN, 0, "mm"),
            with_sigma("y", truth.y_mm, f64::NAN, 0, "mm"),
            with_sigma("z", truth.z_mm, f64::NAN, 0, "mm"),
            with_sigma("t", truth.time_ns, f64::NAN, 1, "ns"),
            with_sigma("E", truth.energy_mev, f64::NAN, 3, "MeV"),
        ];
        lines.push(format!("true: {}", all.join(", ")));
    }
    lines
}
