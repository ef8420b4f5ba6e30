//! `nuwave inspect --plot`: draws waveforms with the result of their extraction.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::Verbosity;
use crate::cli::args::{DetectorArgs, InputArgs, method_parser};
use crate::error::{Error, Result};
use crate::extract::{Extractor, Method, Parameters, Trace};
use crate::io::atomic::AtomicFile;
use crate::io::{self, BatchLimit, SourceInfo};
use crate::model::{Photoelectron, TimedCharge, Waveform};
use crate::plot::waveform_display::{TraceDisplay, WaveformDisplay, waveforms_svg};
use crate::text::counted;

/// The options of the plot.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Plots")]
pub(super) struct PlotArgs {
    /// Draw waveforms (or, for hits, one event) into this SVG file
    #[arg(long, value_name = "OUT.svg")]
    pub plot: Option<PathBuf>,
    /// Draw only waveforms of this event; for hits, the event to draw
    #[arg(long, value_name = "ID", requires = "plot")]
    pub event: Option<u64>,
    /// Draw only waveforms of this channel
    #[arg(long, value_name = "ID", requires = "plot")]
    pub channel: Option<u32>,
    /// File with the truth, to mark the true vertex in an event display
    #[arg(long, value_name = "FILE", requires = "plot")]
    pub truth: Option<PathBuf>,
    /// Input of the event, if several inputs have an event with this number
    #[arg(long, value_name = "N", requires = "plot")]
    pub input_id: Option<u32>,
    /// Method of the extraction
    #[arg(long, value_parser = method_parser(), requires = "plot", default_value_t)]
    method: Method,
    /// Number of waveforms to draw
    #[arg(long, value_name = "N", default_value_t = 3, requires = "plot", value_parser = clap::value_parser!(u32).range(1..=50))]
    plot_count: u32,
    /// Draw the waveforms from this time on, in ns after the first sample
    #[arg(long, value_name = "NS", requires = "plot")]
    from_ns: Option<f64>,
    /// Draw the waveforms up to this time, in ns after the first sample
    #[arg(long, value_name = "NS", requires = "plot")]
    to_ns: Option<f64>,
}

impl PlotArgs {
    /// Returns true if a plot was requested.
    pub fn is_wanted(&self) -> bool {
        self.plot.is_some()
    }

    /// Returns the part of a waveform of `n_samples` to draw; `None` for all of it.
    fn range_ns(&self, n_samples: usize, sampling_ns: f64) -> Option<(f64, f64)> {
        if self.from_ns.is_none() && self.to_ns.is_none() {
            return None;
        }
        let end_ns = sampling_ns * n_samples as f64;
        Some((self.from_ns.unwrap_or(0.0), self.to_ns.unwrap_or(end_ns)))
    }

    /// Checks the part of the waveforms to draw.
    fn check_range(&self, sampling_ns: Option<f64>) -> Result<()> {
        let Some((from_ns, to_ns)) = self.range_ns(usize::MAX, sampling_ns.unwrap_or(1.0)) else {
            return Ok(());
        };
        if sampling_ns.is_none() {
            return Err(Error::usage("the sampling interval is not known, so that `--from-ns` and `--to-ns` have no meaning")
                .with_hint("give it with `--sampling-ns NS`"));
        }
        if from_ns.is_finite() && to_ns.is_finite() && from_ns < to_ns {
            return Ok(());
        }
        Err(Error::usage(format!(
            "`--from-ns {from_ns}` is not before `--to-ns {to_ns}`"
        ))
        .with_hint("give the part to draw as `--from-ns 250 --to-ns 400`"))
    }
}

/// Draws the waveforms that `plot` chooses from the file `path`.
pub(super) fn draw(
    path: &Path,
    plot: &PlotArgs,
    known: &DetectorArgs,
    input: &InputArgs,
    verbosity: Verbosity,
) -> Result<()> {
    let Some(output) = &plot.plot else {
        return Ok(());
    };
    let mut source = io::open(path, &input.read_options(0)?)?;
    let info = source.info().clone();
    let extractor = extractor(&info, known, input, plot.method, verbosity)?;
    let truth = if info.has_truth {
        io::read_truth(path)?.photoelectrons
    } else {
        Vec::new()
    };
    let sampling_ns = extractor
        .as_ref()
        .map(|(_, ns)| *ns)
        .or(input.sampling_ns)
        .or(info.sampling_ns);
    plot.check_range(sampling_ns)?;
    let mut displays = Vec::new();
    'file: while let Some(batch) = source.next_batch(BatchLimit {
        waveforms: 1024,
        ..BatchLimit::default()
    })? {
        for waveform in (0..batch.len()).filter_map(|index| batch.get(index)) {
            let wanted = plot.event.is_none_or(|event| event == waveform.event_id)
                && plot
                    .channel
                    .is_none_or(|channel| channel == waveform.channel_id);
            if !wanted {
                continue;
            }
            let trace = extractor
                .as_ref()
                .map(|(extractor, _)| extractor.trace(waveform));
            let sampling_ns = sampling_ns.unwrap_or(0.0);
            let range_ns = plot.range_ns(waveform.samples.len(), sampling_ns);
            displays.push(WaveformDisplay {
                range_ns,
                ..waveform_display(waveform, trace, &truth, sampling_ns)
            });
            if displays.len() >= plot.plot_count as usize {
                break 'file;
            }
        }
    }
    if displays.is_empty() {
        return Err(
            Error::input(path, "no waveform of the event and channel asked for")
                .with_hint("`nuwave inspect FILE` shows which events and channels there are"),
        );
    }
    let name = super::file_name(path);
    let subtitle = format!("{}, {}", info.format, info.layout);
    let svg = waveforms_svg(&name, &subtitle, &displays)?;
    let mut file = AtomicFile::create(output)?;
    file.file_mut()
        .write_all(svg.as_bytes())
        .map_err(|error| Error::output(output, "cannot be written").with_source(error))?;
    file.commit()?;
    if !verbosity.quiet {
        status!(
            "drew {} into `{}`",
            counted(displays.len() as u64, "waveform"),
            output.display()
        );
    }
    Ok(())
}

/// Returns the extractor and its sampling interval; `None` if neither the user nor the file names a template: then only the
/// samples are drawn.
fn extractor(
    info: &SourceInfo,
    known: &DetectorArgs,
    input: &InputArgs,
    method: Method,
    verbosity: Verbosity,
) -> Result<Option<(Extractor, f64)>> {
    let asked = known.detector.is_some() || known.calibration.is_some();
    if !asked && info.detector.is_none() {
        if !verbosity.quiet {
            status!(
                "only the samples are drawn; `--detector` or `--calibration` adds the deconvolved trace and the hits"
            );
        }
        return Ok(None);
    }
    let known = known.read(info)?;
    let readout = input.readout(info, &known)?;
    let sampling_ns = readout.sampling_ns;
    let parameters = Parameters {
        method,
        ..Parameters::default()
    };
    let extractor = Extractor::new(known.calibration, readout, parameters)?;
    Ok(Some((extractor, sampling_ns)))
}

fn waveform_display(
    waveform: Waveform<'_>,
    trace: Option<Trace>,
    truth: &[Photoelectron],
    sampling_ns: f64,
) -> WaveformDisplay {
    let mut heading = format!(
        "event {}, channel {}",
        waveform.event_id, waveform.channel_id
    );
    for flag in trace.iter().flat_map(|trace| trace.flags.names()) {
        heading.push_str(", ");
        heading.push_str(&flag.replace('_', " "));
    }
    WaveformDisplay {
        heading,
        samples_adc: waveform.samples.to_f32(),
        sampling_ns,
        range_ns: None,
        truth: truth
            .iter()
            .filter(|pe| (pe.event_id, pe.channel_id) == (waveform.event_id, waveform.channel_id))
            // True times count from the event's start, which may be before the window.
            .map(|pe| TimedCharge {
                time_ns: pe.time_ns - waveform.start_ns,
                charge_pe: f64::from(pe.charge_pe),
            })
            .collect(),
        trace: trace.map(|trace| TraceDisplay {
            baseline_adc: f64::from(trace.baseline_adc),
            step_ns: f64::from(trace.step_ns),
            threshold_pe_per_ns: f64::from(trace.threshold_pe_per_ns),
            hits: trace
                .hits
                .iter()
                .map(|hit| TimedCharge {
                    time_ns: hit.time_ns,
                    charge_pe: f64::from(hit.charge_pe),
                })
                .collect(),
            deconvolved_pe_per_ns: trace.deconvolved_pe_per_ns,
            smoothed_pe_per_ns: trace.smoothed_pe_per_ns,
            residual_adc: trace.residual_adc,
            moving_baseline_adc: trace.moving_baseline_adc,
        }),
    }
}
