//! The noise of the waveforms of a channel, and the waveforms that are dead: without light, and quieter than the channel is.

use super::pedestal::Pedestal;
use crate::math;

/// Bins per factor of two of the noise.
const BINS_PER_OCTAVE: f64 = 4.0;
/// Logarithm to base 2 of the noise of the first and of the last bin.
const OCTAVES: [f64; 2] = [-60.0, 60.0];
/// Share of the waveforms that may be noisier than the noise which counts as the channel's.
const NOISIER_SHARE: f64 = 0.05;
/// Noise of a dead waveform, at most, relative to that of the channel.
const DEAD_NOISE: f64 = 0.4;
/// Waveforms with light, at least, among those that are not dead.
const MIN_LIT: u64 = 10;
/// Share of waveforms with light among dead ones, at most, relative to the others.
const DEAD_LIGHT: f64 = 0.1;

/// Sums over waveforms with about the same noise.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    n: u64,
    n_lit: u64,
    baseline_sum_adc: f64,
    noise_sum_adc: f64,
    noise_sum_adc2: f64,
}

impl Bin {
    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.n_lit += other.n_lit;
        self.baseline_sum_adc += other.baseline_sum_adc;
        self.noise_sum_adc += other.noise_sum_adc;
        self.noise_sum_adc2 += other.noise_sum_adc2;
    }
}

/// Histogram of the noise of waveforms.
#[derive(Clone, Debug, Default)]
pub(super) struct NoiseHistogram {
    /// Number of the first of the bins, which has entries, as the last one has.
    first: usize,
    bins: Vec<Bin>,
}

/// Mean baseline and noise of the waveforms that are not dead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MeanPedestal {
    /// Mean of the baselines.
    pub level_adc: f64,
    /// Root mean square of the noise.
    pub noise_adc: f64,
    /// Mean of the noise over its root mean square; 1 if all waveforms have the same.
    pub mean_over_rms: f64,
}

impl NoiseHistogram {
    /// Adds a waveform.
    pub fn add(&mut self, pedestal: Pedestal, is_lit: bool) {
        let bin = bin_of(pedestal.noise_adc);
        if self.bins.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let n_new = self.first - bin;
            self.bins.splice(0..0, vec![Bin::default(); n_new]);
            self.first = bin;
        }
        let bin = bin - self.first;
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, Bin::default());
        }
        self.bins[bin].merge(&Bin {
            n: 1,
            n_lit: u64::from(is_lit),
            baseline_sum_adc: pedestal.level_adc,
            noise_sum_adc: pedestal.noise_adc,
            noise_sum_adc2: pedestal.noise_adc * pedestal.noise_adc,
        });
    }

    fn sum(bins: &[Bin]) -> Bin {
        bins.iter().fold(Bin::default(), |mut sum, bin| {
            sum.merge(bin);
            sum
        })
    }

    /// Returns the number of bins with dead waveforms: those well below the noise of the channel, if the waveforms in them have no light while
    /// the others do. Waveforms that are noisier than the rest, for example by pick-up, do not make the rest dead: it has light.
    fn n_dead_bins(&self) -> usize {
        let all = Self::sum(&self.bins);
        let mut n_noisier = 0;
        let usual = self.bins.iter().rposition(|bin| {
            n_noisier += bin.n;
            n_noisier as f64 > NOISIER_SHARE * all.n as f64
        });
        let Some(usual) = usual else { return 0 };
        let width = (BINS_PER_OCTAVE * math::ln(1.0 / DEAD_NOISE) / math::ln(2.0)).ceil() as usize;
        let n_bins = usual.saturating_sub(width);
        let (dead, others) = self.bins.split_at(n_bins);
        let (dead, others) = (Self::sum(dead), Self::sum(others));
        let share = |bin: &Bin| bin.n_lit as f64 / bin.n.max(1) as f64;
        let is_dead =
            dead.n > 0 && others.n_lit >= MIN_LIT && share(&dead) < DEAD_LIGHT * share(&others);
        if is_dead { n_bins } else { 0 }
    }

    /// Returns the number of dead waveforms.
    pub fn n_dead(&self) -> u64 {
        Self::sum(&self.bins[..self.n_dead_bins()]).n
    }

    /// Returns the noise below which a waveform is dead; 0 if none is.
    pub fn dead_below_adc(&self) -> f64 {
        match self.n_dead_bins() {
            0 => 0.0,
            n => {
                let octave = OCTAVES[0] + (self.first + n) as f64 / BINS_PER_OCTAVE;
                math::exp(octave * math::ln(2.0))
            }
        }
    }

    /// Returns mean baseline and noise of the waveforms that are not dead; `None` without any.
    pub fn mean_pedestal(&self) -> Option<MeanPedestal> {
        let sum = Self::sum(&self.bins[self.n_dead_bins()..]);
        (sum.n > 0).then(|| {
            let n = sum.n as f64;
            let noise_adc = (sum.noise_sum_adc2 / n).sqrt();
            MeanPedestal {
                level_adc: sum.baseline_sum_adc / n,
                noise_adc,
                mean_over_rms: sum.noise_sum_adc / n / noise_adc,
            }
        })
    }
}

fn bin_of(noise_adc: f64) -> usize {
    let octave = math::ln(noise_adc.max(f64::MIN_POSITIVE)) / math::ln(2.0);
    let [lowest, highest] = OCTAVES;
    (BINS_PER_OCTAVE * (octave.clamp(lowest, highest) - lowest)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(waveforms: &[(u32, f64, bool)]) -> NoiseHistogram {
        let mut histogram = NoiseHistogram::default();
        for &(n, noise_adc, is_lit) in waveforms {
            for _ in 0..n {
                let level_adc = 100.0 * noise_adc;
                histogram.add(
                    Pedestal {
                        level_adc,
                        noise_adc,
                    },
                    is_lit,
                );
            }
        }
        histogram
    }

    #[test]
    fn waveforms_without_noise_and_light_are_dead() {
        for n_dead in [30, 100, 900] {
            let run = histogram(&[(n_dead, 0.6, false), (70, 8.0, false), (30, 8.1, true)]);
            assert_eq!(run.n_dead(), u64::from(n_dead));
            assert!(
                run.mean_pedestal()
                    .is_some_and(|mean| mean.mean_over_rms > 0.999)
            );
            let mean = run.mean_pedestal().expect("waveforms");
            assert!((mean.noise_adc - 8.03).abs() < 0.01, "{mean:?}");
            assert!((mean.level_adc - 803.0).abs() < 1e-9, "{mean:?}");
            assert!((0.6..8.0).contains(&run.dead_below_adc()));
        }
    }

    #[test]
    fn quieter_waveforms_with_light_are_not_dead() {
        for run in [
            // The same noise in all, pick-up in some or most, no light at all, and a single waveform.
            histogram(&[(700, 8.0, false), (300, 8.1, true)]),
            histogram(&[(500, 8.0, false), (200, 8.0, true), (300, 40.0, false)]),
            histogram(&[(70, 8.0, false), (20, 8.0, true), (900, 40.0, true)]),
            histogram(&[(500, 0.6, false), (500, 8.0, false)]),
            histogram(&[(1, 8.0, true)]),
        ] {
            assert_eq!(run.n_dead(), 0);
            assert_eq!(run.dead_below_adc(), 0.0);
        }
        assert_eq!(NoiseHistogram::default().mean_pedestal(), None);
        // Noise that differs shows, whether of waveforms with pick-up or of quiet ones that cannot be told from dead ones.
        for n_quiet in [200, 600] {
            let run = histogram(&[(n_quiet, 0.8, false), (1000 - n_quiet, 8.0, false)]);
            let mean = run.mean_pedestal().expect("waveforms");
            assert!(mean.mean_over_rms < 0.95, "{n_quiet} {mean:?}");
        }
    }

    #[test]
    fn the_limit_lies_between_dead_waveforms_and_the_others() {
        for noise_adc in [1e-9, 1e-4, 0.29, 0.5, 1.0, 3.0, 100.0, 1e9] {
            let run = histogram(&[
                (200, noise_adc, false),
                (100, 4.0 * noise_adc, false),
                (100, 4.0 * noise_adc, true),
            ]);
            assert_eq!(run.n_dead(), 200);
            let limit = run.dead_below_adc();
            assert!(noise_adc < limit && limit < 4.0 * noise_adc, "{limit}");
        }
    }
}
