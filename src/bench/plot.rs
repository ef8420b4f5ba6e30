//! The plot of a benchmark: all measurements on one scale, one group per occupancy.

use super::input::Occupancy;
use super::report::{Measurement, Report, Row};
use crate::error::Result;
use crate::plot::dots::{self, Dot, Dots, Group};
use crate::plot::figure::{Colour, GREY, PALETTE};
use crate::text::thousands;

/// All of JUNO's 17,612 large photomultipliers, each read out 1000 times per second.
const JUNO_WAVEFORMS_S: f64 = 17.612e6;

/// Returns the SVG text of the whole extractions of `report`.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub fn svg(report: &Report) -> Result<String> {
    let settings = &report.settings;
    let mut machine = report
        .machine
        .cpu
        .clone()
        .unwrap_or_else(|| report.machine.os.clone());
    if let Some(info) = &report.adapter {
        machine = format!("{machine}; {}", info.name);
    }
    let shape = match report.shapes().as_slice() {
        [one] => format!("{}, ", shape_text(*one)),
        _ => String::new(),
    };
    dots::svg(&Dots {
        title: "Waveforms per second".to_owned(),
        subtitle: vec![
            format!(
                "{machine}; nuwave {} ({}), {}",
                report.nuwave,
                report.commit,
                report.date_utc.get(..10).unwrap_or_default()
            ),
            format!(
                "{shape}method {}, detector {}; median of {} repetitions, p10 to p90",
                settings.parameters.method.name(),
                settings.detector.name,
                settings.repetitions
            ),
        ],
        axis: "waveforms per second, including hits".to_owned(),
        groups: groups(report),
        mark: Some((JUNO_WAVEFORMS_S, "all of JUNO at 1 kHz: 17.6 M".to_owned())),
    })
}

fn groups(report: &Report) -> Vec<Group> {
    let mut groups = Vec::new();
    let shapes = report.shapes();
    for &(samples, batch) in &shapes {
        for light in &report.settings.mean_pe {
            let whole: Vec<&Row> = report
                .of_shape((samples, batch))
                .filter(|row| row.mean_pe == *light && row.stage.is_none())
                .collect();
            let mut heading = heading(*light);
            if shapes.len() > 1 {
                heading = format!("{heading}, {}", shape_text((samples, batch)));
            }
            groups.push(Group {
                heading,
                dots: Measurement::ALL
                    .into_iter()
                    .filter_map(|measurement| {
                        whole.iter().find(|row| row.measurement == measurement)
                    })
                    .map(|row| Dot {
                        label: row.measurement.label(report.settings.threads),
                        colour: colour(row.measurement),
                        value: row.waveforms_s.median,
                        interval: (row.waveforms_s.p10, row.waveforms_s.p90),
                        text: dots::short(row.waveforms_s.median),
                    })
                    .collect(),
            });
        }
    }
    groups
}

fn heading(light: Occupancy) -> String {
    match light {
        Occupancy::MeanPe(0.0) => "no light".to_owned(),
        Occupancy::Mix => "mix: nine of ten without light, the others 1 to 5 PE".to_owned(),
        light => format!("mean {light} PE"),
    }
}

fn shape_text((samples, batch): (usize, usize)) -> String {
    format!("{samples} samples, batches of {}", thousands(batch as u64))
}

fn colour(measurement: Measurement) -> Colour {
    let index = match measurement {
        Measurement::CpuOneThread => 5,
        Measurement::CpuAllThreads => 0,
        Measurement::GpuKernel => 4,
        Measurement::GpuOneBatch => 3,
        Measurement::GpuStream => 1,
    };
    PALETTE.get(index).copied().unwrap_or(GREY)
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn the_picture_has_a_group_an_occupancy_and_junos_rate() {
        let text = svg(&report()).expect("drawn");
        for expected in [
            "mean 1 PE",
            "mix: nine of ten",
            "1000 samples, batches of 4,096",
            "GPU, end to end",
            "CPU, 16 threads",
            "17.6 M",
            "4.40 M",
            "A processor",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
    }
}
