//! `nuwave inspect`: the content of a file or an output folder, and plots of waveforms and events.

mod event_plot;
mod inspection;
mod text;
mod waveform_plot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Verbosity;
use super::args::{DetectorArgs, InputArgs};
use super::error_text;
use crate::error::{Error, Result};
use crate::evaluate::survey::Survey;
use crate::io::{self, BatchLimit, SourceInfo, calibration, hits, tables};
use crate::model::{Calibration, Polarity};
use inspection::{
    CalibrationFile, CalibrationRow, EventsTable, Given, HitsFile, Inspection, OutputFolder,
    TruthFile, WaveformFile,
};
use text::text;
use waveform_plot::PlotArgs;

/// Show what is inside a file: waveforms, hits, truth, calibration, or an output folder
///
/// Lengths, values and rails are those of the first `--max-waveforms` waveforms. `--plot` draws waveforms; with `--detector`
/// or `--calibration` (or for a file that names its detector) also the deconvolved trace and the hits. For hits and output
/// folders it draws the event display of `--event`, if the detector has a geometry.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file of waveforms, hits, truth or calibration, or an output folder of `nuwave reconstruct` or its table `hits`
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Maximum number of waveforms to read
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_waveforms: u64,
    /// Number of rows to print
    #[arg(long, value_name = "N", default_value_t = 5)]
    rows: usize,
    #[command(flatten)]
    plot: PlotArgs,
    #[command(flatten)]
    known: DetectorArgs,
    #[command(flatten)]
    input: InputArgs,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let found = inspect(args)?;
    let printed = if verbosity.json {
        super::json_text(&found)?
    } else {
        text(&args.path, &found, args.rows)
    };
    super::print(&printed)?;
    if args.plot.is_wanted() {
        match found {
            Inspection::Waveforms(_) => {
                waveform_plot::draw(&args.path, &args.plot, &args.known, &args.input, verbosity)?;
            }
            Inspection::Calibration(_) => {
                return Err(Error::usage(format!(
                    "`--plot` draws waveforms and events, and `{}` holds neither",
                    args.path.display()
                )));
            }
            Inspection::Output(_) | Inspection::Hits(_) | Inspection::Truth(_) => {
                let detector = args.known.detector.as_deref();
                event_plot::draw(&args.path, &args.plot, detector, &args.input, verbosity)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect(args: &Args) -> Result<Inspection> {
    let path = &args.path;
    if path.is_dir() {
        // Without a report, parts of a table of hits are all that a folder can be.
        let is_table = !path.join("report.json").exists() && has_hits(path)?;
        return Ok(if is_table {
            Inspection::Hits(hits_file(args)?)
        } else {
            Inspection::Output(output_folder(path)?)
        });
    }
    if let Some(columns) = tables::read::parquet_columns(path)? {
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("template_adc") {
            return Ok(Inspection::Calibration(calibration_file(
                &calibration::read(path)?,
            )));
        }
        let named = args.input.columns.is_some();
        if !named && has("time_ns") && has("charge_pe") && !has("samples") {
            // Truth has neither flags nor several inputs.
            return Ok(if has("flags") || has("input_id") {
                Inspection::Hits(hits_file(args)?)
            } else {
                Inspection::Truth(truth(path)?)
            });
        }
    }
    Ok(Inspection::Waveforms(Box::new(waveforms(args)?)))
}

/// Returns the name of a file or folder without its path.
fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Returns true for a folder of Parquet files with the columns of hits, those that truth lacks included.
fn has_hits(folder: &Path) -> Result<bool> {
    let Ok(files) = tables::read::part_files(folder) else {
        return Ok(false);
    };
    for file in files {
        let columns = tables::read::parquet_columns(&file)?.unwrap_or_default();
        let has = |name: &str| columns.iter().any(|column| column == name);
        let is_truth = !has("flags") && !has("input_id");
        if !has("time_ns") || !has("charge_pe") || has("samples") || is_truth {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the numbers of rows of a folder's tables. A folder without events must have the two others.
fn output_folder(path: &Path) -> Result<OutputFolder> {
    let report = tables::read::read_report(path)?;
    let events_at = path.join("events");
    let events = events_at
        .is_dir()
        .then(|| events_table(&events_at))
        .transpose()?;
    let rows = |name: &str| {
        let table = path.join(name);
        (events.is_none() || table.exists())
            .then(|| tables::read::count_rows(&table))
            .transpose()
    };
    Ok(OutputFolder {
        hits: rows("hits")?,
        waveforms: rows("waveforms")?,
        report,
        events,
    })
}

fn events_table(path: &Path) -> Result<EventsTable> {
    let rows = tables::events::read(path)?;
    let events = || rows.iter().map(|(_, event)| event);
    let mut flags = BTreeMap::new();
    for name in events().flat_map(|event| event.flags.names()) {
        *flags.entry(name).or_default() += 1;
    }
    let energies: Vec<f64> = events()
        .map(|event| event.energy_mev)
        .filter(|energy| energy.is_finite())
        .collect();
    let with_vertex = events().filter(|event| (event.x_mm + event.y_mm + event.z_mm).is_finite());
    Ok(EventsTable {
        rows: rows.len() as u64,
        flags,
        with_vertex: with_vertex.count() as u64,
        with_energy: energies.len() as u64,
        mean_energy_mev: (!energies.is_empty())
            .then(|| energies.iter().sum::<f64>() / energies.len() as f64),
        event_min: events().map(|event| event.event_id).min(),
        event_max: events().map(|event| event.event_id).max(),
    })
}

fn hits_file(args: &Args) -> Result<HitsFile> {
    let source = hits::open(&args.path, &args.input.hit_options()?)?;
    let mut file = HitsFile::default();
    let (mut events, mut channels) = (BTreeSet::new(), BTreeSet::new());
    let (mut charged, mut charge_pe) = (0_u64, 0.0);
    let mut rows = source.hits()?;
    while let Some(block) = rows.next_block()? {
        for row in block {
            file.hits += 1;
            events.insert(row.event);
            channels.insert(row.hit.channel_id);
            if row.hit.time_ns.is_finite() {
                let time_ns = row.hit.time_ns;
                file.time_min_ns = Some(file.time_min_ns.map_or(time_ns, |low| low.min(time_ns)));
                file.time_max_ns = Some(file.time_max_ns.map_or(time_ns, |high| high.max(time_ns)));
            }
            if row.hit.charge_pe.is_finite() {
                charged += 1;
                charge_pe += f64::from(row.hit.charge_pe);
            }
        }
    }
    file.events = events.len();
    file.event_min = events.iter().map(|(_, event)| *event).min();
    file.event_max = events.iter().map(|(_, event)| *event).max();
    file.channels = channels.len();
    file.mean_charge_pe = (charged > 0).then(|| charge_pe / charged as f64);
    Ok(file)
}

fn waveforms(args: &Args) -> Result<WaveformFile> {
    let mut source = io::open(&args.path, &args.input.read_options(0)?)?;
    let info: SourceInfo = source.info().clone();
    let adc_bits = args.input.adc_bits.or(info.adc_bits);
    let mut survey = Survey::default();
    let mut losses = Vec::new();
    let mut ended = false;
    while survey.n_waveforms() < args.max_waveforms {
        let left = usize::try_from(args.max_waveforms - survey.n_waveforms()).unwrap_or(usize::MAX);
        let limit = BatchLimit {
            waveforms: left.min(1024),
            ..BatchLimit::default()
        };
        let batch = source.next_batch(limit)?;
        losses.append(&mut source.take_losses());
        let Some(batch) = batch else {
            ended = true;
            break;
        };
        survey.add(&batch, adc_bits, args.rows);
    }
    let counted = ended.then(|| survey.n_waveforms());
    Ok(WaveformFile {
        format: info.format,
        layout: info.layout,
        bytes: info.n_bytes,
        n_waveforms: info.n_waveforms.or(counted),
        sampling_ns: args.input.sampling_ns.or(info.sampling_ns),
        adc_bits,
        polarity: args.input.polarity.map(Polarity::from).or(info.polarity),
        given: Given {
            sampling_ns: args.input.sampling_ns.is_some(),
            adc_bits: args.input.adc_bits.is_some(),
            polarity: args.input.polarity.is_some(),
        },
        detector: info.detector,
        survey: survey.finish(!info.sample_type.starts_with('f'), adc_bits),
        sample_type: info.sample_type,
        remarks: info.remarks.iter().map(error_text::remark_text).collect(),
        losses,
        truth: info.has_truth.then(|| truth(&args.path)).transpose()?,
    })
}

fn truth(path: &Path) -> Result<TruthFile> {
    let truth = io::read_truth(path)?;
    let pes = &truth.photoelectrons;
    let mut keys: Vec<_> = pes.iter().map(|pe| (pe.event_id, pe.channel_id)).collect();
    keys.sort_unstable();
    keys.dedup();
    let charge_pe: f64 = pes.iter().map(|pe| f64::from(pe.charge_pe)).sum();
    Ok(TruthFile {
        photoelectrons: pes.len(),
        events: truth.events.len(),
        waveforms_with_photoelectrons: keys.len(),
        time_min_ns: pes.iter().map(|pe| pe.time_ns).reduce(f64::min),
        time_max_ns: pes.iter().map(|pe| pe.time_ns).reduce(f64::max),
        mean_charge_pe: (!pes.is_empty()).then(|| charge_pe / pes.len() as f64),
    })
}

fn calibration_file(calibration: &Calibration) -> CalibrationFile {
    let known = |value: f32| value.is_finite().then_some(value);
    let row = |channel_id: Option<u32>, row: usize| {
        let row = calibration.rows().get(row)?;
        Some(CalibrationRow {
            channel_id,
            gain_adc_samples: row
                .measurement
                .and_then(|measured| known(measured.gain_adc_samples)),
            gain_error_adc_samples: row
                .measurement
                .and_then(|measured| known(measured.gain_error_adc_samples)),
            area_adc_samples: row.area_adc_samples(),
            n_pulses: row.measurement.map(|measured| measured.n_pulses),
            baseline_noise_ratio: row.baseline_noise_ratio,
            peak_adc: row.template_adc.iter().copied().fold(0.0, f32::max),
            template_samples: row.template_adc.len(),
            sampling_ns: row.sampling_ns,
            noise_adc: row.noise_adc,
            charge_sigma_pe: row.charge_sigma_pe,
            time_offset_ns: row.time_offset_ns,
            flags: row.flags.names().collect(),
        })
    };
    let own = calibration.channels();
    let default = calibration.default_row().and_then(|index| row(None, index));
    CalibrationFile {
        channels: own.len(),
        has_default: default.is_some(),
        rows: default
            .into_iter()
            .chain(
                own.into_iter()
                    .filter_map(|(channel, index)| row(Some(channel), index)),
            )
            .collect(),
    }
}
