//! The table of a benchmark: the whole extraction, then the stages.

use std::fmt::Write as _;

use super::report::{Limit, Measurement, Report, Row};
use crate::math;
use crate::text::thousands;

/// Width of the column of names.
const NAME: usize = 29;
/// Width of a column of stages.
const CELL: usize = 18;

/// Returns the table of `report` with a final line end.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = head(report);
    for shape in report.shapes() {
        let (samples, batch) = shape;
        let _ = writeln!(
            text,
            "\nExtraction: {samples} samples per waveform, batches of {}",
            thousands(batch as u64)
        );
        let _ = writeln!(
            text,
            "  {:NAME$} {:>7} {:>13} {:>13} {:>13} {:>8}  {:24} {:>21}",
            "",
            "mean PE",
            "waveforms/s",
            "p10",
            "p90",
            "GB/s",
            "of the limit",
            "ms/batch (p10, p90)",
        );
        for measurement in Measurement::ALL {
            let rows = report.of_shape(shape);
            let mut name = measurement.label(report.settings.threads);
            for row in rows.filter(|row| row.measurement == measurement && row.stage.is_none()) {
                whole(&mut text, &name, row);
                name.clear();
            }
        }
        for measurement in Measurement::ALL {
            stages(&mut text, report, shape, measurement);
        }
    }
    text.push('\n');
    text.push_str(
        "p10 and p90: 10th and 90th percentile of the repetitions. GB/s: raw samples, two bytes \
         each.\nEnd to end: several batches in flight; its ms are from submitting a batch to receiving its \
         hits.\n",
    );
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn head(report: &Report) -> String {
    let (machine, limits, settings) = (&report.machine, &report.limits, &report.settings);
    let mut text = format!(
        "nuwave {} ({}), {}\n",
        report.nuwave, report.commit, report.date_utc
    );
    let _ = write!(
        text,
        "CPU       {}, {} cores",
        machine.cpu.as_deref().unwrap_or("unknown"),
        machine.cores
    );
    if let Some(bytes) = machine.memory_bytes {
        let _ = write!(text, ", {:.1} GiB", bytes as f64 / f64::from(1 << 30));
    }
    let _ = writeln!(text, ", {}", machine.os);
    if let Some(info) = &report.adapter {
        let _ = writeln!(text, "GPU       {}, {}", info.description(), info.kind);
    }
    let _ = writeln!(
        text,
        "memory    host copies {:.1} GB/s by 1 thread, {:.1} by {} (read and written bytes both counted)",
        limits.host_copy_one_thread_gb_s, limits.host_copy_gb_s, settings.threads
    );
    if let Some(gpu) = &limits.gpu {
        let _ = writeln!(
            text,
            "          host to device {:.1} GB/s, device to host {:.1}, within the device {:.1} (both counted), into the \
             staging buffer {:.1}",
            gpu.upload_gb_s, gpu.read_back_gb_s, gpu.device_gb_s, gpu.staging_gb_s
        );
    }
    let _ = writeln!(
        text,
        "settings  method {}, detector {}, {} repetitions",
        settings.parameters.method.name(),
        settings.detector.name,
        settings.repetitions
    );
    text
}

fn whole(text: &mut String, name: &str, row: &Row) {
    let limit = match (row.limit, row.share_of_limit) {
        (Some(limit), Some(share)) => {
            let of = match limit {
                Limit::HostCopy => "of host copies",
                Limit::HostToDevice => "of host to device",
                Limit::DeviceCopy => "of device copies",
            };
            format!("{:.1} % {of}", 100.0 * share)
        }
        _ => String::new(),
    };
    let rate = &row.waveforms_s;
    let _ = writeln!(
        text,
        "  {name:NAME$} {:>7} {:>13} {:>13} {:>13} {:>8.2}  {limit:24} {:>7.2} ({:.2}, {:.2})",
        row.mean_pe.to_string(),
        rounded(rate.median),
        rounded(rate.p10),
        rounded(rate.p90),
        row.input_gb_s,
        row.batch_ms.median,
        row.batch_ms.p10,
        row.batch_ms.p90,
    );
}

/// Appends the stages of `measurement`: one row each, one column per occupancy.
fn stages(text: &mut String, report: &Report, shape: (usize, usize), measurement: Measurement) {
    let rows: Vec<&Row> = report
        .of_shape(shape)
        .filter(|row| row.measurement == measurement && row.stage.is_some())
        .collect();
    let mut names: Vec<&str> = Vec::new();
    let mut lights: Vec<String> = Vec::new();
    for row in &rows {
        let light = row.mean_pe.to_string();
        if !lights.contains(&light) {
            lights.push(light);
        }
        names.extend(row.stage.filter(|stage| !names.contains(stage)));
    }
    if names.is_empty() {
        return;
    }
    let title = match measurement {
        Measurement::GpuKernel => {
            "GPU, stage kernels, state in device memory between them".to_owned()
        }
        _ => measurement.label(report.settings.threads),
    };
    let _ = write!(
        text,
        "\n  Stages, {title}: waveforms/s, share of the time of all\n  {:NAME$}",
        ""
    );
    for light in &lights {
        let _ = write!(text, " {:>CELL$}", format!("mean PE {light}"));
    }
    text.push('\n');
    let of_light = |light: &str| {
        let light = light.to_owned();
        rows.iter()
            .filter(move |row| row.mean_pe.to_string() == light)
    };
    for name in names {
        let _ = write!(text, "  {name:NAME$}");
        for light in &lights {
            let total_ms: f64 = of_light(light).map(|row| row.batch_ms.median).sum();
            let cell =
                of_light(light)
                    .find(|row| row.stage == Some(name))
                    .map_or("-".to_owned(), |row| {
                        format!(
                            "{} {:>4.1} %",
                            rounded(row.waveforms_s.median),
                            100.0 * row.batch_ms.median / total_ms.max(1e-12)
                        )
                    });
            let _ = write!(text, " {cell:>CELL$}");
        }
        text.push('\n');
    }
}

/// Returns a rate rounded to four digits, with separated thousands.
fn rounded(rate: f64) -> String {
    let step = math::powf(
        10.0_f64,
        (math::log10(rate.max(1.0)).floor() - 3.0).max(0.0),
    );
    thousands(((rate / step).round() * step) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn rates_keep_four_digits() {
        assert_eq!(rounded(0.0), "0");
        assert_eq!(rounded(17_612_345.0), "17,610,000");
        assert_eq!(rounded(999.6), "1,000");
        assert_eq!(rounded(12_344.9), "12,340");
    }

    #[test]
    fn a_table_has_the_whole_and_the_stages() {
        let text = text(&report());
        for expected in [
            "CPU, 1 thread                       1       400,000",
            "GPU, end to end                     1     4,400,000",
            "12.5 % of host to device",
            "batches of 4,096",
            "Stages, CPU, 1 thread",
            "note: a note",
            "within the device 3000.0",
        ] {
            assert!(text.contains(expected), "no `{expected}` in\n{text}");
        }
        let load_samples = text.lines().find(|line| line.contains("load_samples"));
        assert!(
            load_samples.is_some_and(|line| line.contains("3,000,000 25.0 %")),
            "{text}"
        );
    }

    #[test]
    fn the_json_holds_every_figure() {
        let json = serde_json::to_value(report()).expect("plain data");
        assert_eq!(json["rows"][0]["measurement"], "cpu-one-thread");
        assert_eq!(json["rows"][0]["waveforms_s"]["median"], 400_000.0);
        assert_eq!(json["settings"]["detector"], "juno");
        assert_eq!(json["settings"]["method"], "deconvolution");
        assert_eq!(json["limits"]["gpu"]["upload_gb_s"], 64.0);
    }
}
