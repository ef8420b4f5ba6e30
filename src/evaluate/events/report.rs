//! The events' part of the table: one row per result, one column per reconstruction.

use super::EventResult;
use super::metrics::{EnergyMetrics, Pull};
use super::uniformity::Region;
use crate::evaluate::cells::{percent, percent_error, with_error};
use crate::evaluate::stats::Estimate;
use crate::model::Flags;
use crate::text::table::Row;
use crate::text::{missing, thousands};

type Cell = fn(&EventResult) -> String;

/// Returns the rows for `results`: headings without cells, other rows with one cell per reconstruction.
pub(in crate::evaluate) fn rows(results: &[EventResult]) -> Vec<Row> {
    let Some(first) = results.first() else {
        return Vec::new();
    };
    let heading = |name: &str| (name.to_owned(), None);
    let row = |name: &str, cell: &dyn Fn(&EventResult) -> String| {
        (name.to_owned(), Some(results.iter().map(cell).collect()))
    };
    let plain = |rows: &[(&str, Cell)]| -> Vec<Row> {
        rows.iter().map(|(name, cell)| row(name, cell)).collect()
    };
    let mut rows = vec![heading("Events")];
    rows.extend(plain(&COUNTS));
    for (_, name, _) in Flags::ALL {
        let of = |result: &EventResult| result.counts.flags.get(name).copied().unwrap_or(0);
        if results.iter().any(|result| of(result) > 0) {
            rows.push(row(&format!("  flagged {name}"), &|m| thousands(of(m))));
        }
    }
    rows.push(heading("Vertex, found \u{2212} true (mm)"));
    rows.extend(plain(&VERTEX));
    rows.push(heading("Time, found \u{2212} true (ns)"));
    rows.extend(plain(&TIME));
    rows.push(heading("Energy, found / true"));
    rows.extend(plain(&ENERGY));
    for (place, bin) in first.energy.by_energy.iter().enumerate() {
        let name = if first.binning.energies_are_distinct {
            format!("  at {:.3} MeV: bias / resolution (%)", bin.mean)
        } else {
            let (low, high) = (bin.low, bin.high);
            if high.is_finite() {
                format!("  {low:.2} to {high:.2} MeV: bias / resolution (%)")
            } else {
                format!("  above {low:.2} MeV: bias / resolution (%)")
            }
        };
        rows.push(row(&name, &|m| {
            m.energy
                .by_energy
                .get(place)
                .map_or_else(missing, |bin| bias_and_resolution(&bin.metrics))
        }));
    }
    rows.push(heading(
        "Resolution = sqrt(a\u{b2}/E + b\u{b2} + c\u{b2}/E\u{b2}), E in MeV",
    ));
    rows.extend(plain(&FIT));
    rows.push(heading(
        "Non-uniformity, spread of the mean response over equal volumes",
    ));
    rows.extend(uniformity_rows(results));
    rows.push(heading("Pulls: mean / width of the central 68 % / RMS"));
    rows.extend(plain(&PULLS));
    rows
}

const COUNTS: [(&str, Cell); 7] = [
    ("true events / rows of the output", |m| {
        let counts = &m.counts;
        let (all, found) = (counts.true_events, counts.reconstructed);
        format!("{} / {}", thousands(all), thousands(found))
    }),
    ("in both", |m| thousands(m.counts.matched)),
    ("  converged (%)", |m| percent(m.counts.converged)),
    ("true events not reconstructed", |m| {
        thousands(m.counts.not_reconstructed)
    }),
    ("rows without a true event", |m| {
        thousands(m.counts.without_truth)
    }),
    ("without vertex / time / energy, left out", |m| {
        let counts = &m.counts;
        format!(
            "{} / {} / {}",
            thousands(counts.without_vertex),
            thousands(counts.without_time),
            thousands(counts.without_energy)
        )
    }),
    ("detector's / fiducial radius (mm)", |m| {
        format!("{:.0} / {:.0}", m.binning.radius_mm, m.binning.fiducial_mm)
    }),
];

const VERTEX: [(&str, Cell); 10] = [
    ("bias x", |m| with_error(m.vertex.overall.x_mm.bias, 1)),
    ("bias y", |m| with_error(m.vertex.overall.y_mm.bias, 1)),
    ("bias z", |m| with_error(m.vertex.overall.z_mm.bias, 1)),
    ("bias of the radius", |m| {
        with_error(m.vertex.overall.radial_mm.bias, 1)
    }),
    ("bias of the radius, within the fiducial radius", |m| {
        with_error(m.radial_fiducial_mm.bias, 1)
    }),
    ("half-width of the central 68 %, x", |m| {
        with_error(m.vertex.overall.x_mm.sigma_68, 1)
    }),
    ("half-width of the central 68 %, y", |m| {
        with_error(m.vertex.overall.y_mm.sigma_68, 1)
    }),
    ("half-width of the central 68 %, z", |m| {
        with_error(m.vertex.overall.z_mm.sigma_68, 1)
    }),
    ("RMS, x / y / z", |m| {
        let all = &m.vertex.overall;
        [all.x_mm, all.y_mm, all.z_mm]
            .map(|axis| {
                axis.rms
                    .map_or_else(missing, |rms| format!("{:.1}", rms.value))
            })
            .join(" / ")
    }),
    ("distance that 68 % do not exceed", |m| {
        with_error(m.vertex.overall.distance_68_mm, 1)
    }),
];

const TIME: [(&str, Cell); 3] = [
    ("mean (a convention)", |m| {
        with_error(m.time_ns.overall.bias, 3)
    }),
    ("half-width of the central 68 %", |m| {
        with_error(m.time_ns.overall.sigma_68, 3)
    }),
    ("RMS", |m| with_error(m.time_ns.overall.rms, 3)),
];

const ENERGY: [(&str, Cell); 4] = [
    ("bias, all (%)", |m| percent_error(m.energy.overall.bias)),
    ("resolution, central 68 %, all (%)", |m| {
        percent_error(m.energy.overall.resolution)
    }),
    ("resolution, Gaussian core, all (%)", |m| {
        percent_error(m.energy.overall.resolution_core)
    }),
    ("resolution, RMS, all (%)", |m| {
        percent_error(m.energy.overall.resolution_rms)
    }),
];

const FIT: [(&str, Cell); 4] = [
    ("a (%)", |m| fitted(m, |fit| fit.a)),
    ("b (%)", |m| fitted(m, |fit| fit.b)),
    ("c (%)", |m| fitted(m, |fit| fit.c)),
    ("chi\u{b2} / degrees of freedom", |m| {
        let fit = &m.resolution_fit;
        match (&fit.fit, &fit.none_because) {
            (Some(fit), _) => format!("{:.1} / {}", fit.chi2, fit.degrees_of_freedom),
            (None, Some(why)) => format!("no fit: {why}"),
            (None, None) => missing(),
        }
    }),
];

const PULLS: [(&str, Cell); 5] = [
    ("x", |m| pull(&m.pulls.x)),
    ("y", |m| pull(&m.pulls.y)),
    ("z", |m| pull(&m.pulls.z)),
    ("time, minus its mean offset", |m| pull(&m.pulls.time)),
    ("energy", |m| pull(&m.pulls.energy)),
];

fn fitted(result: &EventResult, part: fn(&super::fit::ResolutionFit) -> Estimate) -> String {
    percent_error(result.resolution_fit.fit.as_ref().map(part))
}

fn bias_and_resolution(metrics: &EnergyMetrics) -> String {
    format!(
        "{} / {}",
        percent_error(metrics.bias),
        percent_error(metrics.resolution)
    )
}

fn pull(pull: &Pull) -> String {
    let Pull { residuals, .. } = pull;
    format!(
        "{} / {} / {}",
        with_error(residuals.bias, 2),
        with_error(residuals.sigma_68, 2),
        with_error(residuals.rms, 2)
    )
}

fn uniformity_rows(results: &[EventResult]) -> Vec<Row> {
    type Of = fn(&EventResult) -> &Region;
    let regions: [(&str, Of); 3] = [
        ("all", |m| &m.uniformity.all),
        ("within the fiducial radius", |m| &m.uniformity.inside),
        ("beyond the fiducial radius", |m| &m.uniformity.beyond),
    ];
    let mut rows = Vec::new();
    for (name, region) in regions {
        for (over, by_cell) in [("r\u{b3}", false), ("r\u{b3} and cos \u{3b8}", true)] {
            let cells = results.iter().map(|result| {
                let region = region(result);
                let found = if by_cell {
                    region.by_cell
                } else {
                    region.by_radius
                };
                found.map_or_else(missing, |found| {
                    format!(
                        "{} (largest {})",
                        percent_error(Some(found.spread)),
                        percent_error(Some(found.largest_deviation))
                    )
                })
            });
            rows.push((format!("{name}, {over} (%)"), Some(cells.collect())));
        }
    }
    rows
}

/// Returns warnings, one line each.
#[must_use]
pub fn warnings(result: &EventResult) -> Vec<String> {
    let counts = &result.counts;
    let pulls = &result.pulls;
    let without_sigma = [&pulls.x, &pulls.y, &pulls.z, &pulls.time, &pulls.energy]
        .iter()
        .map(|pull| pull.without_sigma)
        .max();
    [
        (
            counts.not_reconstructed,
            "true events are not in the output",
        ),
        (
            counts.without_truth,
            "events have no truth; they are left out",
        ),
        (
            counts.true_not_finite,
            "true events without finite numbers are left out",
        ),
        (
            counts.true_without_energy,
            "true events without positive energy are left out of the energy metrics",
        ),
        (
            counts.without_vertex,
            "events without a vertex are left out of the vertex metrics",
        ),
        (
            counts.without_time,
            "events without a time are left out of the time metrics",
        ),
        (
            counts.without_energy,
            "events without an energy are left out of the energy metrics",
        ),
        (
            without_sigma.unwrap_or(0),
            "events without a positive uncertainty are left out of the pulls",
        ),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, text)| format!("{}: {} {text}", result.label, thousands(n)))
    .collect()
}
