//! Distributions of arrival times, from the channels' first hits.
//!
//! A channel is at risk of its first hit until it has one. Of `mu s(t)` photoelectrons per ns, first hits show those of
//! channels at risk: `s(t)` is the number of first hits divided by the sum of `mu` at risk, which is correct for any
//! amount of light (the estimate of Nelson and Aalen, doi:10.1214/aos/1176344247). Each hit is shared among the
//! surrounding nodes with the weights of the later interpolation.

use crate::math;
use crate::model::light_maps::{FROM_NS, Nodes, STEP_NS, TimeTable};

/// Nodes in `(r / R)^2` and in the logarithm of the distance.
const NODES: [usize; 2] = [25, 16];
/// The density at a time is averaged over as many neighbours as contain this many hits ...
const SMOOTH_HITS: f64 = 400.0;
/// ... within this share of its distance to the peak.
const SMOOTH_SHARE: f64 = 0.2;
/// A node with fewer first hits also uses those of its neighbours.
const NODE_HITS: f64 = 20_000.0;
/// Minimum significance, in standard deviations, of light before the peak.
const SIGMAS: f64 = 3.0;

/// Minimum share of the light at risk for a measurement of the density, ...
const MIN_AT_RISK: f64 = 0.01;
/// ... and minimum share whose window has not ended.
const MIN_OPEN: f64 = 0.5;
/// A measured density is matched to its continuation over this time.
const JOINT_NS: f64 = 60.0;

/// A surrounding node and its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    pub node: usize,
    pub weight: f64,
}

/// First hits and channels at risk of one type of PMT.
pub(super) struct FirstHits {
    u: Nodes,
    v: Nodes,
    times: usize,
    /// By node: sums of `mu` and of dark rates over all channels and events.
    light: Vec<f64>,
    dark: Vec<f64>,
    /// By node and time: first hits, and how `mu` and dark rates at risk fall.
    hits: Vec<f64>,
    light_gone: Vec<f64>,
    dark_gone: Vec<f64>,
    /// By node and time: `mu` whose window ends.
    light_ended: Vec<f64>,
}

/// Returns the bin of a time; `None` after the last.
pub(super) fn bin(time_ns: f64, times: usize) -> Option<usize> {
    let bin = ((time_ns - FROM_NS) / STEP_NS).round().max(0.0) as usize;
    (bin < times).then_some(bin)
}

/// Returns the nodes over the range of a map.
pub(super) fn nodes(v_low: f64, v_high: f64) -> (Nodes, Nodes) {
    let u = Nodes {
        low: 0.0,
        high: 1.0,
        count: NODES[0],
    };
    let v = Nodes {
        low: v_low,
        high: v_high,
        count: NODES[1],
    };
    (u, v)
}

impl FirstHits {
    pub(super) fn new((u, v): (Nodes, Nodes), times: usize) -> Self {
        let n = u.count * v.count;
        Self {
            u,
            v,
            times,
            light: vec![0.0; n],
            dark: vec![0.0; n],
            hits: vec![0.0; n * times],
            light_gone: vec![0.0; n * times],
            dark_gone: vec![0.0; n * times],
            light_ended: vec![0.0; n * times],
        }
    }

    /// Returns the surrounding nodes of a point and their weights.
    pub(super) fn corners(&self, u: f64, v: f64) -> [Corner; 6] {
        let three = self.u.quadratic_taps(u);
        let (column, right, _) = self.v.linear_taps(v);
        let at = |k: usize, j: usize| Corner {
            node: three.nodes[k] * self.v.count + column + j,
            weight: three.shares[k] * if j == 0 { 1.0 - right } else { right },
        };
        [at(0, 0), at(0, 1), at(1, 0), at(1, 1), at(2, 0), at(2, 1)]
    }

    /// Adds a channel that is at risk until `end_ns` in `events` events.
    pub(super) fn expose(
        &mut self,
        corners: &[Corner; 6],
        events: f64,
        light_pe: f64,
        dark_per_ns: f64,
        end_ns: f64,
    ) {
        for corner in corners {
            let (light, dark) = (
                corner.weight * events * light_pe,
                corner.weight * events * dark_per_ns,
            );
            self.light[corner.node] += light;
            self.dark[corner.node] += dark;
            if let Some(bin) = bin(end_ns, self.times) {
                self.light_gone[corner.node * self.times + bin] += light;
                self.light_ended[corner.node * self.times + bin] += light;
                self.dark_gone[corner.node * self.times + bin] += dark;
            }
        }
    }

    /// Adds a first hit at `time_ns` of a channel that would have been at risk until `end_ns`.
    pub(super) fn hit(
        &mut self,
        corners: &[Corner; 6],
        time_ns: f64,
        light_pe: f64,
        dark_per_ns: f64,
        end_ns: f64,
    ) {
        let Some(at) = bin(time_ns, self.times) else {
            return;
        };
        for corner in corners {
            let start = corner.node * self.times;
            let (light, dark) = (corner.weight * light_pe, corner.weight * dark_per_ns);
            if time_ns >= FROM_NS {
                self.hits[start + at] += corner.weight;
            }
            self.light_gone[start + at] += light;
            self.dark_gone[start + at] += dark;
            if let Some(end) = bin(end_ns, self.times).filter(|end| *end > at) {
                self.light_gone[start + end] -= light;
                self.dark_gone[start + end] -= dark;
            }
        }
    }

    /// Returns the distributions, smoothed over `reach` steps on both sides; `None` without any hits.
    pub(super) fn table(&self, reach: usize) -> Option<TimeTable> {
        let rows: Vec<Sums> = (0..self.light.len()).map(|node| self.sums(node)).collect();
        let mut all = Sums::none(self.times);
        for row in &rows {
            all.add(1.0, row);
        }
        let usual = all.density(None, reach);
        let densities: Vec<Vec<f64>> = (0..rows.len())
            .map(|node| self.pooled(&rows, node).density(Some(&usual), reach))
            .collect();
        TimeTable::new(self.u, self.v, &densities)
    }

    /// Returns the sums of a node.
    fn sums(&self, node: usize) -> Sums {
        let start = node * self.times;
        let (mut light, mut dark) = (self.light[node], self.dark[node]);
        let mut open = light;
        let mut sums = Sums::none(self.times);
        for k in 0..self.times {
            // Half of those that leave within a bin are at risk in it.
            let (light_gone, dark_gone) = (self.light_gone[start + k], self.dark_gone[start + k]);
            sums.hits[k] = self.hits[start + k];
            sums.light[k] = (light - 0.5 * light_gone).max(0.0) * STEP_NS;
            sums.dark[k] = (dark - 0.5 * dark_gone).max(0.0) * STEP_NS;
            light -= light_gone;
            dark -= dark_gone;
            open -= self.light_ended[start + k];
            sums.open[k] = open.max(0.0) * STEP_NS;
        }
        sums
    }

    /// Returns the sums of a node, with weighted sums of its neighbours if it has too few hits.
    fn pooled(&self, rows: &[Sums], node: usize) -> Sums {
        let position = |node: usize| ((node / self.v.count) as f64, (node % self.v.count) as f64);
        let here = position(node);
        let mut reach = 0.0;
        loop {
            let mut sums = Sums::none(self.times);
            for (other, row) in rows.iter().enumerate() {
                let there = position(other);
                let square = (here.0 - there.0).powi(2) + (here.1 - there.1).powi(2);
                let weight = if other == node {
                    1.0
                } else if reach > 0.0 {
                    math::exp(-0.5 * square / (reach * reach))
                } else {
                    0.0
                };
                if weight > 1e-6 {
                    sums.add(weight, row);
                }
            }
            if sums.hits.iter().sum::<f64>() >= NODE_HITS || reach > 50.0 {
                return sums;
            }
            reach = if reach > 0.0 { 1.5 * reach } else { 0.35 };
        }
    }
}

/// First hits, exposure at risk, and exposure without any hits, by time.
struct Sums {
    hits: Vec<f64>,
    light: Vec<f64>,
    dark: Vec<f64>,
    open: Vec<f64>,
}

impl Sums {
    fn none(times: usize) -> Self {
        Self {
            hits: vec![0.0; times],
            light: vec![0.0; times],
            dark: vec![0.0; times],
            open: vec![0.0; times],
        }
    }

    fn add(&mut self, weight: f64, other: &Self) {
        for (mine, theirs) in [
            (&mut self.hits, &other.hits),
            (&mut self.light, &other.light),
            (&mut self.dark, &other.dark),
            (&mut self.open, &other.open),
        ] {
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a += weight * b;
            }
        }
    }

    /// Returns the density, averaged where hits are few. Where too little is at risk, it continues like `usual`.
    fn density(&self, usual: Option<&[f64]>, reach: usize) -> Vec<f64> {
        let n = self.hits.len();
        let before = |values: &[f64]| {
            let mut sums = vec![0.0];
            sums.extend(values.iter().scan(0.0, |sum, x| {
                *sum += x;
                Some(*sum)
            }));
            sums
        };
        let (hits, light, dark) = (before(&self.hits), before(&self.light), before(&self.dark));
        let between = |sums: &[f64], from: usize, upto: usize| sums[upto] - sums[from];
        // The densest 4 ns.
        let width = (4.0 / STEP_NS) as usize;
        let peak = (0..n.saturating_sub(width))
            .max_by(|&a, &b| {
                between(&hits, a, a + width)
                    .total_cmp(&between(&hits, b, b + width))
                    .then(b.cmp(&a))
            })
            .unwrap_or(0)
            + width / 2;
        let mut density = vec![0.0; n];
        let mut excess = vec![0.0; n];
        for (k, density) in density.iter_mut().enumerate() {
            let most = (SMOOTH_SHARE * k.abs_diff(peak) as f64) as usize;
            let mut wide = 0;
            let (from, upto) = loop {
                let (from, upto) = (k.saturating_sub(wide), (k + wide + 1).min(n));
                if wide >= most || between(&hits, from, upto) >= SMOOTH_HITS {
                    break (from, upto);
                }
                wide += 1;
            };
            let (found, dark) = (between(&hits, from, upto), between(&dark, from, upto));
            let at_risk = between(&light, from, upto);
            if at_risk > 0.0 {
                *density = ((found - dark) / at_risk).max(0.0);
                excess[k] = (found - dark) / (dark + 1.0).sqrt();
            }
        }
        // There is no light before the first significant one: noise is set to 0.
        if let Some(start) = (0..peak).rev().find(|&k| excess[k] < SIGMAS) {
            density[..=start].fill(0.0);
        }
        let mut density = without_noise(&density, reach);
        let all = self.light.first().copied().unwrap_or(0.0);
        let is_known =
            |k: usize| self.light[k] > MIN_AT_RISK * all && self.open[k] > MIN_OPEN * self.open[0];
        let end = (peak..n).find(|&k| !is_known(k)).unwrap_or(n);
        go_on(&mut density, end, usual);
        density
    }
}

/// Savitzky-Golay filter: fits a parabola to each value and its neighbours, up to `reach` on both sides
/// (doi:10.1021/ac60214a047).
fn without_noise(density: &[f64], reach: usize) -> Vec<f64> {
    let m = reach as f64;
    let norm = (2.0 * m + 3.0) * (2.0 * m + 1.0) * (2.0 * m - 1.0) / 3.0;
    let weights: Vec<f64> = (0..=2 * reach)
        .map(|i| {
            let away = i as f64 - m;
            (3.0 * m * m + 3.0 * m - 1.0 - 5.0 * away * away) / norm
        })
        .collect();
    let mut smooth = density.to_vec();
    for (near, smooth) in density
        .windows(weights.len())
        .zip(smooth.iter_mut().skip(reach))
    {
        let sum: f64 = near.iter().zip(&weights).map(|(x, w)| w * x).sum();
        *smooth = sum.max(0.0);
    }
    smooth
}

/// Continues a density from bin `end` on: with the shape of `usual`, or as an exponential.
fn go_on(density: &mut [f64], end: usize, usual: Option<&[f64]>) {
    let length = ((JOINT_NS / STEP_NS) as usize).min(end / 2);
    if end >= density.len() || length == 0 {
        return;
    }
    let mean = |values: &[f64], upto: usize| {
        values[upto - length..upto].iter().sum::<f64>() / length as f64
    };
    let last = mean(density, end);
    if let Some(usual) = usual {
        let factor = last / mean(usual, end).max(1e-300);
        for (density, usual) in density[end..].iter_mut().zip(&usual[end..]) {
            *density = factor * usual;
        }
        return;
    }
    let fall = (mean(density, end - length) / last.max(1e-300)).max(1.02);
    let a_bin = math::powf(fall, -1.0 / length as f64);
    let mut level = last * math::powf(a_bin, 0.5 * length as f64);
    for density in &mut density[end..] {
        *density = level;
        level *= a_bin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First hits of channels with much light, drawn by the inverse of their distribution, give the light's own times.
    #[test]
    fn first_hits_of_bright_channels_give_the_time_of_all_photoelectrons() {
        for light_pe in [0.1, 4.0] {
            let mut sums = FirstHits::new(nodes(7.0, 10.0), 800);
            let corners = sums.corners(0.4, 8.3);
            let events = 2_000_000;
            let (tau_ns, end_ns) = (20.0, 300.0);
            sums.expose(&corners, f64::from(events), light_pe, 1e-5, end_ns);
            for k in 0..events {
                let share = (f64::from(k) + 0.5) / f64::from(events);
                // exp(-mu F) = share, F = 1 - exp(-t / tau).
                let before = -math::ln(share) / light_pe;
                if before < 1.0 {
                    let time_ns = -tau_ns * math::ln(1.0_f64 - before);
                    if time_ns < end_ns {
                        sums.hit(&corners, time_ns, light_pe, 1e-5, end_ns);
                    }
                }
            }
            let table = sums.table(3).expect("hits");
            for t in [5.0, 20.0, 60.0] {
                let expected = math::exp(-t / tau_ns) / tau_ns;
                let found = table.at(0.4, 8.3, t).density;
                assert!(
                    (found / expected - 1.0).abs() < 0.04,
                    "{light_pe} {t}: {found} {expected}"
                );
            }
        }
    }
}
