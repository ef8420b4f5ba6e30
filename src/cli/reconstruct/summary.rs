//! The result of `nuwave reconstruct` on the terminal.

use std::path::Path;

use crate::cli::Verbosity;
use crate::extract::BackendReport;
use crate::pipeline::Report;

/// Prints losses and a summary.
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
        status!(
            "warning: {} more losses are listed in the report",
            report.losses.len() - MAX_SHOWN
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
    let mut scattered = report.inputs.iter().filter(|input| !input.ascending);
    if let (Some(first), false) = (scattered.next(), verbosity.quiet) {
        status!(
            "note: in {} inputs events are not in ascending order, the first is `{}`",
            1 + scattered.count(),
            first.path
        );
    }
    if !verbosity.quiet {
        status!("\n{}\n{}", output.display(), report.summary().trim_end());
    }
}

/// Prints which waveforms the GPU could not extract, and how often it failed.
fn print_gpu_summary(gpu: &BackendReport, verbosity: Verbosity) {
    for (reason, waveforms) in gpu.on_cpu.iter().filter(|_| !verbosity.quiet) {
        status!("note: {waveforms} waveforms were extracted on the CPU: {reason}");
    }
    if gpu.device_failures > 0 {
        let retried: u64 = gpu.retries.iter().map(|retry| retry.waveforms).sum();
        status!(
            "warning: the GPU failed {} time{}; {retried} waveforms were extracted again and are listed in the report",
            gpu.device_failures,
            if gpu.device_failures == 1 { "" } else { "s" },
        );
    }
    if let Some(why) = &gpu.given_up {
        status!("warning: the GPU was given up, the CPU did the rest: {why}");
    }
}
