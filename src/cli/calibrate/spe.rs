//! `nuwave calibrate spe`.

mod notes;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::calibrate::defects::DefectCounts;
use crate::calibrate::plots::{self, SpePlots};
use crate::calibrate::spe::{RunKind, SpeParameters, SpeResult, spe};
use crate::cli::args::InputArgs;
use crate::cli::counter::Counter;
use crate::cli::error_text;
use crate::cli::{Verbosity, merged_channels_text};
use crate::detector::{self, Detector};
use crate::error::{EXIT_PARTIAL, Error, MissingReadout, Result};
use crate::io::{BatchLimit, Loss, MergedChannels, SourceInfo, calibration, inputs};
use crate::model::{Polarity, Waveform};
use crate::pipeline::AboveRange;
use crate::pipeline::missing_readout;
use crate::text::counted;

/// Passes over the inputs.
const PASSES: u64 = 3;

/// Single-photoelectron templates, gains and noise from a run with weak light or none
///
/// Reads the inputs three times; memory depends on the number of channels, not of waveforms. The charge of one photoelectron is
/// the gain from the fit of the charge spectrum; the template is scaled to this charge in the charge window.
///
/// The time of a hit is that of its photoelectron: where the template begins, which is 1.45 times the rise time (10 % to 90 %) before
/// the pulse reaches half of its height. It counts from the first sample of the window, minus the time offset of the channel. Offsets
/// are 0 without `--light-ns`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of one run
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// Calibration file to write (Parquet)
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
    /// Whether a light source fires at a fixed time, or all pulses are dark [default: determined from the data]
    #[arg(long, value_name = "KIND")]
    run: Option<RunArg>,
    /// Samples over which the charge is summed, as `138:168` (the last not included) [default: determined from the data]
    #[arg(long, value_name = "LO:HI")]
    window: Option<String>,
    /// When light reaches the PMTs, in ns after the first sample: channels get the time offset that puts it there
    #[arg(long, value_name = "NS")]
    light_ns: Option<f64>,
    /// Minimum number of pulses for a channel's own template; other channels use that of their PMT type or of all channels
    #[arg(long, value_name = "N", default_value_t = 50)]
    min_pulses: u64,
    /// Detector (a preset or a detector file): channels with too few pulses then use the mean template of their PMT type
    #[arg(long, short, value_name = "NAME|FILE")]
    detector: Option<String>,
    /// Folder for plots (SVG): an overview of all channels, and each channel's charge spectrum and template; of more than 16
    /// channels, of 16: up to eight flagged ones and the first of the others
    #[arg(long, value_name = "DIR")]
    plots_dir: Option<PathBuf>,
    /// Draw charge spectrum and template of every channel, two files per channel
    #[arg(long, requires = "plots_dir")]
    plots_all: bool,
    /// Draw the charge spectra with a linear axis, cut at three times the single-photoelectron peak [default: logarithmic]
    #[arg(long, requires = "plots_dir")]
    linear_y: bool,
    #[command(flatten)]
    reading: InputArgs,
}

/// `--run`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RunArg {
    /// A weak light source fires at the same time in every window
    Led,
    /// Dark photoelectrons at any time
    Dark,
}

/// Refuses an output that cannot be written, before the passes over the data.
fn check_output(args: &Args) -> Result<()> {
    if args.output.exists() && !args.overwrite {
        return Err(Error::output(&args.output, "the output exists already")
            .with_hint("give another name, or `--overwrite`"));
    }
    let folder = args
        .output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(
            Error::output(&args.output, "the folder of the output does not exist")
                .with_hint(format!("make it: `mkdir -p {}`", folder.display())),
        );
    }
    Ok(())
}

pub(super) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    check_output(args)?;
    let detector = args.detector.as_deref().map(detector::load).transpose()?;
    let window = args.window.as_deref().map(parse_window).transpose()?;
    let (files, repeated) = inputs::unique(args.input.clone());
    let mut infos = Vec::new();
    for (input_id, path) in files.iter().enumerate() {
        let options = args.reading.read_options(input_id as u32)?;
        infos.push(crate::io::open(path, &options)?.info().clone());
    }
    remark_on_inputs(&repeated, &infos);
    ask_for_readout(&args.reading, detector.as_ref(), &infos)?;
    let parameters = SpeParameters {
        polarity: polarity(&args.reading, detector.as_ref(), &infos)?,
        sampling_ns: sampling_ns(&args.reading, detector.as_ref(), &infos)?,
        adc_bits: adc_bits(&args.reading, detector.as_ref(), &infos),
        run: args.run.map(|run| match run {
            RunArg::Led => RunKind::Led,
            RunArg::Dark => RunKind::Dark,
        }),
        window,
        min_pulses: args.min_pulses,
        light_ns: args.light_ns,
    };
    let total: Option<u64> = infos.iter().map(|info| info.n_waveforms).sum();
    let progress = Counter::new("waveform", total, PASSES, verbosity.quiet);
    let mut losses: Vec<(PathBuf, Loss)> = Vec::new();
    let mut above_range: Vec<(PathBuf, AboveRange, u64)> = Vec::new();
    let mut passes = 0;
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| -> Result<()> {
        passes += 1;
        progress.begin_pass();
        for (input_id, path) in files.iter().enumerate() {
            let options = args.reading.read_options(input_id as u32)?;
            let mut source = crate::io::open(path, &options)?;
            let (mut above, mut n_waveforms) = (AboveRange::default(), 0);
            while let Some(batch) = source.next_batch(BatchLimit::default())? {
                batch.iter().for_each(&mut *visit);
                if passes == 1 {
                    above.add(&batch, parameters.adc_bits);
                    n_waveforms += batch.len() as u64;
                }
                progress.add(batch.len() as u64);
            }
            // Every pass has the same losses.
            if passes == 1 {
                let new = source.take_losses().into_iter();
                losses.extend(new.map(|loss| (path.clone(), loss)));
                if !above.is_empty() {
                    above_range.push((path.clone(), above, n_waveforms));
                }
            }
        }
        Ok(())
    };
    let type_of = |channel_id| {
        let detector = detector.as_ref()?;
        (channel_id < detector.n_channels()).then(|| detector.type_of(channel_id).name.clone())
    };
    let result = spe(&mut read_all, &parameters, &type_of);
    progress.finish();
    for (path, loss) in &losses {
        status!(
            "warning: `{}`, {}: {}",
            path.display(),
            loss.place,
            loss.reason
        );
    }
    for (path, above, n_waveforms) in &above_range {
        let warning = above.warning(*n_waveforms, parameters.adc_bits.unwrap_or(0));
        status!("warning: `{}`: {warning} (`--adc-bits`)", path.display());
    }
    let result = result.map_err(|error| with_losses(error, &losses))?;
    let command = super::command_line();
    let mut found = result.to_calibration()?;
    found.set_polarity(parameters.polarity);
    calibration::write(&args.output, &found, &command)?;
    if let Some(folder) = &args.plots_dir {
        let plots = SpePlots {
            sampling_ns: parameters.sampling_ns,
            linear_y: args.linear_y,
            all_channels: args.plots_all,
        };
        plots::write(folder, &result, &plots)?;
    }
    for note in notes::notes(&result, parameters.sampling_ns) {
        status!("{note}");
    }
    super::tell(
        verbosity,
        &args.output,
        || as_json(&result, &parameters, &losses).to_string(),
        || table::as_table(&result),
    )?;
    Ok(if losses.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_PARTIAL)
    })
}

/// Prints what is to be said about the inputs before they are read.
fn remark_on_inputs(repeated: &[PathBuf], infos: &[SourceInfo]) {
    for path in repeated {
        status!(
            "note: `{}` is named more than once, and read once",
            path.display()
        );
    }
    if let Some(merged) = MergedChannels::find(infos) {
        status!("warning: {}", merged_channels_text(&merged));
    }
    for info in infos {
        for remark in &info.remarks {
            let kind = if remark.is_warning { "warning" } else { "note" };
            status!(
                "{kind}: `{}`: {}",
                info.path.display(),
                error_text::remark_text(remark)
            );
        }
    }
}

/// Adds to an error what could not be read of the inputs.
fn with_losses(error: Error, losses: &[(PathBuf, Loss)]) -> Error {
    if losses.is_empty() || error.path().is_some() {
        return error;
    }
    let lost: u64 = losses.iter().map(|(_, loss)| loss.at_least()).sum();
    error.and_hint(format!(
        "at least {} could not be read, see the warnings above: mend or leave out these files",
        counted(lost, "waveform")
    ))
}

/// Returns the bits of a sample: those of the options, else the ones all inputs agree on, else those of the detector.
fn adc_bits(args: &InputArgs, detector: Option<&Detector>, infos: &[SourceInfo]) -> Option<u32> {
    let of_files = || {
        let first = infos.first()?.adc_bits?;
        let all = infos.iter().all(|info| info.adc_bits == Some(first));
        all.then_some(first)
    };
    let says = infos.iter().any(|info| info.adc_bits.is_some());
    args.adc_bits.or_else(of_files).or(detector
        .filter(|_| !says)
        .map(|detector| detector.readout.adc_bits))
}

fn parse_window(text: &str) -> Result<(usize, usize)> {
    text.split_once(':')
        .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)))
        .filter(|(low, high)| low < high)
        .ok_or_else(|| {
            Error::usage(format!("`--window {text}` is not a range of samples")).with_hint(
                "write it as `--window 138:168`: the first sample, and the one after the last",
            )
        })
}

/// Returns the user's value, else the one that all inputs agree on, else that of the detector.
fn agreed<T: Copy + PartialEq + std::fmt::Debug>(
    said: Option<T>,
    of_detector: Option<T>,
    infos: &[SourceInfo],
    what: &str,
    option: &str,
    of: fn(&SourceInfo) -> Option<T>,
) -> Result<T> {
    if let Some(said) = said {
        return Ok(said);
    }
    let mut found: Option<T> = None;
    for info in infos {
        let value = of(info).or(of_detector).ok_or_else(|| {
            Error::usage(format!(
                "the {what} in `{}` is not known",
                info.path.display()
            ))
            .with_hint(format!("give it with `{option}`"))
        })?;
        if let Some(found) = found
            && found != value
        {
            return Err(Error::input(
                &info.path,
                format!("the {what} is {value:?}, but {found:?} in the previous inputs"),
            )
            .with_hint("calibrate runs with the same readout together, other runs separately"));
        }
        found = Some(value);
    }
    found.ok_or_else(|| Error::usage("there is no input"))
}

/// Asks for polarity and sampling interval at once, if neither an option, nor the detector, nor an input states them.
fn ask_for_readout(
    args: &InputArgs,
    detector: Option<&Detector>,
    infos: &[SourceInfo],
) -> Result<()> {
    if detector.is_some() {
        return Ok(());
    }
    let options = args.input_options(args.read_options(0)?);
    for info in infos {
        let missing = MissingReadout {
            polarity: options.polarity.or(info.polarity).is_none(),
            sampling: options.sampling_ns.or(info.sampling_ns).is_none(),
            ..MissingReadout::default()
        };
        if missing.polarity || missing.sampling {
            return Err(missing_readout(info, &options, missing));
        }
    }
    Ok(())
}

fn polarity(
    args: &InputArgs,
    detector: Option<&Detector>,
    infos: &[SourceInfo],
) -> Result<Polarity> {
    let said = args.polarity.map(Polarity::from);
    let option = "--polarity negative` or `--polarity positive";
    let of_detector = detector.map(|detector| detector.readout.polarity);
    agreed(
        said,
        of_detector,
        infos,
        "direction of the pulses",
        option,
        |info| info.polarity,
    )
}

fn sampling_ns(args: &InputArgs, detector: Option<&Detector>, infos: &[SourceInfo]) -> Result<f64> {
    let what = "sampling interval";
    let sampling_ns = agreed(
        args.sampling_ns,
        detector.map(|detector| detector.readout.sampling_ns),
        infos,
        what,
        "--sampling-ns NS",
        |info| info.sampling_ns,
    )?;
    if !(sampling_ns.is_finite() && sampling_ns > 0.0) {
        return Err(Error::usage(format!(
            "the sampling interval is {sampling_ns} ns, expected a number > 0"
        ))
        .with_hint("give it with `--sampling-ns NS`"));
    }
    Ok(sampling_ns)
}

/// Returns the numbers of waveforms that were left out, by reason.
fn left_out(counts: &DefectCounts) -> serde_json::Value {
    let counts = counts
        .found()
        .map(|(defect, count)| (defect.name().to_owned(), count.into()));
    serde_json::Value::Object(counts.collect())
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

fn as_json(
    result: &SpeResult,
    parameters: &SpeParameters,
    losses: &[(PathBuf, Loss)],
) -> serde_json::Value {
    let channels: Vec<serde_json::Value> = result
        .channels
        .iter()
        .map(|channel| {
            let row = &channel.calibration;
            let measured = row.measurement.unwrap_or_default();
            serde_json::json!({
                "channel_id": channel.channel_id,
                "n_waveforms": channel.n_waveforms,
                "n_left_out": channel.left_out.total(),
                "left_out": left_out(&channel.left_out),
                "baseline_adc": channel.baseline_adc,
                "window_samples": channel.window,
                "fit": channel.fit,
                "fit_errors": channel.fit_errors,
                "chi2": finite(measured.chi2),
                "degrees_of_freedom": measured.degrees_of_freedom,
                "n_pulses": channel.n_pulses,
                "peak_adc": channel.peak_adc,
                "peak_error_adc": finite(measured.peak_error_adc),
                "fwhm_ns": channel.fwhm_ns,
                "fwhm_error_ns": channel.fwhm_error_ns,
                "light_time_ns": channel.light_time_ns,
                "template_area_adc_samples": row.area_adc_samples(),
                "noise_adc": row.noise_adc,
                "noise_error_adc": finite(measured.noise_error_adc),
                "baseline_noise_ratio": row.baseline_noise_ratio,
                "quiet": channel.quiet,
                "time_offset_ns": row.time_offset_ns,
                "time_offset_error_ns": finite(measured.time_offset_error_ns),
                "dark_rate_hz": row.dark_rate_hz,
                "dark_rate_error_hz": finite(measured.dark_rate_error_hz),
                "charge_sigma_pe": row.charge_sigma_pe,
                "charge_sigma_error_pe": finite(measured.charge_sigma_error_pe),
                "time_sigma_ns": row.time_sigma_ns,
                "flags": row.flags.names().collect::<Vec<_>>(),
            })
        })
        .collect();
    let losses: Vec<serde_json::Value> = losses
        .iter()
        .map(|(path, loss): &(PathBuf, Loss)| serde_json::json!({"input": Path::new(path), "loss": loss}))
        .collect();
    serde_json::json!({
        "run": result.run,
        "sampling_ns": parameters.sampling_ns,
        "polarity": parameters.polarity,
        "left_out": left_out(&result.left_out()),
        "channels": channels,
        "losses": losses,
    })
}
