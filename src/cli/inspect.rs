//! `nuwave inspect`: what a file or an output folder holds, and pictures of waveforms with their hits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::Talk;
use super::inspect_plot::{self, PlotArgs};
use super::inspect_text::text;
use super::shared::{DetectorArgs, InputArgs};
use crate::error::{Error, Result};
use crate::evaluate::survey::{Survey, SurveyResult};
use crate::io::{self, BatchLimit, Loss, SourceInfo, calibration_file, hits};
use crate::model::{Calibration, Polarity};

/// Show what is inside a file: waveforms, truth, calibration, or an output folder
///
/// Lengths, values and rails are those of the first waveforms (`--look`). `--plot` draws waveforms; with `--detector` or
/// `--calibration` (or for a file that names its detector) also the deconvolved trace and the hits.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file of waveforms, truth or calibration, or an output folder of `nuwave reconstruct`
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Waveforms that are looked at
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    look: u64,
    /// Rows that are printed
    #[arg(long, value_name = "N", default_value_t = 5)]
    rows: usize,
    #[command(flatten)]
    plot: PlotArgs,
    #[command(flatten)]
    known: DetectorArgs,
    #[command(flatten)]
    input: InputArgs,
}

/// What was found, by kind of file. The JSON of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Inspection {
    Waveforms(Box<WaveformFile>),
    Truth(TruthFile),
    Calibration(CalibrationFile),
    Output(OutputFolder),
}

#[derive(Debug, Serialize)]
pub(super) struct WaveformFile {
    pub format: &'static str,
    pub layout: String,
    pub bytes: u64,
    pub sample_type: String,
    /// `None` where the format does not say and the survey ended before the file did.
    pub n_waveforms: Option<u64>,
    pub sampling_ns: Option<f64>,
    pub adc_bits: Option<u32>,
    pub polarity: Option<Polarity>,
    pub detector: Option<String>,
    pub survey: Option<SurveyResult>,
    pub losses: Vec<Loss>,
    pub truth: Option<TruthFile>,
}

#[derive(Debug, Serialize)]
pub(super) struct TruthFile {
    pub photoelectrons: usize,
    pub events: usize,
    pub waveforms_with_photoelectrons: usize,
    pub time_min_ns: Option<f64>,
    pub time_max_ns: Option<f64>,
    pub mean_charge_pe: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct CalibrationFile {
    pub channels: usize,
    pub has_default: bool,
    pub rows: Vec<CalibrationRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct CalibrationRow {
    /// `None`: the default of all channels without a row.
    pub channel_id: Option<u32>,
    pub gain_adc_samples: f32,
    pub peak_adc: f32,
    pub template_samples: usize,
    pub sampling_ns: f32,
    pub noise_adc: f32,
    pub charge_sigma_pe: f32,
    pub time_offset_ns: f32,
    pub flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputFolder {
    pub hits: u64,
    pub waveforms: u64,
    pub report: serde_json::Value,
}

pub(crate) fn run(args: &Args, talk: Talk) -> Result<ExitCode> {
    let found = inspect(args)?;
    let printed = if talk.json {
        serde_json::to_string_pretty(&found)
            .map_err(|error| Error::internal(format!("the JSON could not be written: {error}")))?
            + "\n"
    } else {
        text(&args.path, &found, args.rows)
    };
    super::print(&printed)?;
    if args.plot.is_wanted() {
        if !matches!(found, Inspection::Waveforms(_)) {
            return Err(Error::usage(format!(
                "`--plot` draws waveforms, and `{}` holds none",
                args.path.display()
            )));
        }
        inspect_plot::draw(&args.path, &args.plot, &args.known, &args.input, talk)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect(args: &Args) -> Result<Inspection> {
    let path = &args.path;
    if path.is_dir() {
        return Ok(Inspection::Output(OutputFolder {
            report: hits::read_report(path)?,
            hits: hits::count_rows(&path.join("hits"))?,
            waveforms: hits::count_rows(&path.join("waveforms"))?,
        }));
    }
    if let Some(columns) = hits::parquet_columns(path)? {
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("template_adc") {
            return Ok(Inspection::Calibration(calibration(
                &calibration_file::read(path)?,
            )));
        }
        let named = args.input.columns.is_some();
        if !named && has("time_ns") && has("charge_pe") && !has("samples") {
            return Ok(Inspection::Truth(truth(path)?));
        }
    }
    Ok(Inspection::Waveforms(Box::new(waveforms(args)?)))
}

fn waveforms(args: &Args) -> Result<WaveformFile> {
    let mut source = io::open(&args.path, &args.input.read_options(0)?)?;
    let info: SourceInfo = source.info().clone();
    let adc_bits = args.input.adc_bits.or(info.adc_bits);
    let mut survey = Survey::default();
    let mut losses = Vec::new();
    let mut ended = false;
    while survey.n_waveforms() < args.look {
        let left = usize::try_from(args.look - survey.n_waveforms()).unwrap_or(usize::MAX);
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
        sampling_ns: info.sampling_ns,
        adc_bits: info.adc_bits,
        polarity: info.polarity,
        detector: info.detector,
        survey: survey.finish(!info.sample_type.starts_with('f'), adc_bits),
        sample_type: info.sample_type,
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

fn calibration(calibration: &Calibration) -> CalibrationFile {
    let row = |channel_id: Option<u32>, row: usize| {
        let row = calibration.rows().get(row)?;
        Some(CalibrationRow {
            channel_id,
            gain_adc_samples: row.gain_adc_samples(),
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
    let default = calibration.default_row().and_then(|place| row(None, place));
    CalibrationFile {
        channels: own.len(),
        has_default: default.is_some(),
        rows: default
            .into_iter()
            .chain(
                own.into_iter()
                    .filter_map(|(channel, place)| row(Some(channel), place)),
            )
            .collect(),
    }
}
