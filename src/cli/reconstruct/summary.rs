//! The result of `nuwave reconstruct` on the terminal.

use std::path::Path;

use crate::cli::{Verbosity, print_summary as print_to_stdout};
use crate::extract::BackendReport;
use crate::pipeline::Report;
use crate::text::{counted, thousands};

/// Prints losses and other remarks on stderr, and the summary on stdout.
pub(super) fn print_summary(report: &Report, output: &Path, verbosity: Verbosity) {
    const MAX_SHOWN: usize = 5;
    for loss in report.losses.iter().take(MAX_SHOWN) {
        let path = report
            .inputs
            .get(loss.input_id as usize)
            .map_or("", |input| input.path.as_str());
        status!(
            "warning: `{path}`: {}: {}",
            loss.loss.place,
            loss.loss.reason
        );
    }
    if report.losses.len() > MAX_SHOWN {
        let more = report.losses.len() - MAX_SHOWN;
        let are = if more == 1 { "loss is" } else { "losses are" };
        status!(
            "warning: {} more {are} listed in the report",
            thousands(more as u64)
        );
    }
    if let Some(gpu) = &report.gpu {
        print_gpu_summary(gpu, verbosity);
    }
    for input in &report.inputs {
        if let Some(cut) = &input.cut {
            status!("warning: left out: {cut}");
        }
    }
    for input in &report.inputs {
        if let (Some(above), Some(adc_bits)) = (input.above_range, input.adc_bits) {
            let warning = above.warning(input.waveforms, adc_bits);
            status!("warning: `{}`: {warning} (`--adc-bits`)", input.path);
        }
    }
    print_warnings(report);
    let mut scattered = report.inputs.iter().filter(|input| !input.ascending);
    if let (Some(first), false) = (scattered.next(), verbosity.quiet) {
        let mut of_first = report
            .units
            .iter()
            .filter(|unit| unit.input_id == first.input_id);
        let place = of_first.find_map(|unit| unit.fall_back);
        let place = place.map_or_else(String::new, |place| {
            format!(
                " (event {} after event {} at waveform {})",
                place.event_id, place.after, place.waveform
            )
        });
        status!(
            "note: in {} events are not in ascending order, the first is `{}`{place}; waveforms of an input with the same number are one event",
            counted(1 + scattered.count() as u64, "input"),
            first.path
        );
    }
    let text = format!("{}\n{}", output.display(), report.summary());
    print_to_stdout(&text, verbosity);
}

/// Prints the warnings of a report.
pub(in crate::cli) fn print_warnings(report: &Report) {
    for warning in &report.warnings {
        let input = report.inputs.get(warning.input_id as usize);
        let path = input.map_or("", |input| input.path.as_str());
        status!("warning: `{path}`: {}", warning.text);
    }
}

/// Prints which waveforms the GPU could not extract, and how often it failed.
fn print_gpu_summary(gpu: &BackendReport, verbosity: Verbosity) {
    for (reason, waveforms) in gpu.on_cpu.iter().filter(|_| !verbosity.quiet) {
        status!(
            "note: extracted on the CPU: {}: {reason}",
            counted(*waveforms, "waveform")
        );
    }
    if gpu.device_failures > 0 {
        let retried: u64 = gpu.retries.iter().map(|retry| retry.waveforms).sum();
        status!(
            "warning: the GPU failed {}; extracted again and listed in the report: {}",
            counted(gpu.device_failures, "time"),
            counted(retried, "waveform")
        );
    }
    if let Some(why) = &gpu.given_up {
        status!("warning: the GPU was given up, the CPU did the rest: {why}");
    }
}
