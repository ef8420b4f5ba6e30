//! The last step of the fit: corrects the bias of the separations of close pulses.
//!
//! Two photoelectrons of charges q1 and q2 at a distance d look like one plus q1 q2 / (q1 + q2) d^2 s'' / 2. In units of the noise that
//! is m^2 = n q1 q2 d^2 / (2 (q1 + q2) noise), where n^2 = |s''|^2 - |s'|^4 / |s|^2 is the part of s'' that s does not explain. The samples
//! measure y = m^2 plus a standard normal number. The fit with its repulsion ([`priors`](super::priors)) ends where
//! m^2 - kappa / (2 m^2) = y, which is a good starting point for further steps, but biased high. With a uniform prior on distances the
//! posterior given y is exp(-(y - m^2)^2 / 2), whose median is smaller: by a fifth near m = 0.9, by almost nothing beyond m = 2. The median
//! has the least mean absolute error. The centre of charge of a pair stays. Pulses of several photoelectrons each are not corrected.
//! Chi-square stays that of the fit; the correction changes it by about a hundredth of a standard deviation.

use super::config::{
    MAX_PAIR_PE, MIN_SEVERAL_PE, NEIGHBOUR_DISTANCE, SEPARATION_BIAS, SEPARATION_BIAS_CENTRE,
    SEPARATION_BIAS_WIDTH,
};
use super::priors::neighbour_weight;
use super::state::{FitProblem, FitWorkspace, FittedPulse};

impl FitWorkspace {
    /// Corrects the separations of neighbours. The errors of their times scale with the derivative of the corrected separation: smaller where
    /// a pair is hardly resolved, larger where it begins to be.
    pub(super) fn correct_separations(&mut self, problem: &FitProblem<'_>) {
        let near = NEIGHBOUR_DISTANCE * problem.template.scale;
        let [squares, slope_squares, curvature_squares] = problem.template.squares;
        let unexplained = (curvature_squares - slope_squares * slope_squares / squares).max(0.0);
        let m_per_sample = unexplained.sqrt() / (2.0 * problem.noise_adc);
        self.previous.clear();
        self.previous.extend_from_slice(&self.pulses);
        for (index, pulse) in self.pulses.iter_mut().enumerate() {
            let own = self.previous[index];
            if let Some(before) = index.checked_sub(1) {
                let other = self.previous[before];
                let (shift, derivative) = separation_correction(other, own, near, m_per_sample);
                pulse.time -= shift * other.charge_pe / (other.charge_pe + own.charge_pe);
                pulse.time_sigma *= derivative;
            }
            if let Some(&other) = self.previous.get(index + 1) {
                let (shift, derivative) = separation_correction(own, other, near, m_per_sample);
                pulse.time += shift * other.charge_pe / (other.charge_pe + own.charge_pe);
                pulse.time_sigma *= derivative;
            }
        }
    }
}

/// Returns how much closer two pulses move, in samples, and the derivative of the corrected separation.
fn separation_correction(
    first: FittedPulse,
    second: FittedPulse,
    near: f32,
    m_per_sample: f32,
) -> (f32, f32) {
    let distance = second.time - first.time;
    let total_pe = first.charge_pe + second.charge_pe;
    let is_pair = ((MIN_SEVERAL_PE - total_pe) / (MIN_SEVERAL_PE - MAX_PAIR_PE)).clamp(0.0, 1.0);
    let weight = is_pair * neighbour_weight(distance, near);
    let charge_pe = first.charge_pe * second.charge_pe / total_pe;
    let (part, slope) = separation_bias(distance * (m_per_sample * charge_pe).sqrt());
    let part = weight * part;
    (distance * part, 1.0 - part + weight * slope)
}

/// Returns the relative bias of a separation `m`, and m times its decrease with m.
fn separation_bias(m: f32) -> (f32, f32) {
    let z = (m - SEPARATION_BIAS_CENTRE) / SEPARATION_BIAS_WIDTH;
    let q = (1.0 - z * z).max(0.0);
    (
        SEPARATION_BIAS * q * q * q,
        6.0 * SEPARATION_BIAS * z * q * q * m / SEPARATION_BIAS_WIDTH,
    )
}

#[cfg(test)]
mod tests {
    use super::super::config::REPULSION;
    use super::super::template::Template;
    use super::*;
    use crate::extract::tests::helpers::juno_template;
    use crate::math;

    /// The posterior median with a uniform prior where the fit ends at `m`, by summing the density.
    fn median(m: f64) -> f64 {
        let y = m * m - 0.5 * f64::from(REPULSION) / (m * m);
        let step = 1e-3;
        let density = |d: f64| math::exp(-0.5 * (y - d * d).powi(2));
        let total: f64 = (0..8000)
            .map(|index| density(step * f64::from(index)))
            .sum();
        let mut sum = 0.0;
        let middle = (0..8000).position(|index| {
            sum += density(step * f64::from(index));
            sum >= 0.5 * total
        });
        step * middle.expect("half of the total is reached") as f64
    }

    #[test]
    fn a_separation_is_corrected_to_near_the_median() {
        for index in 8..=60 {
            let m = 0.05 * f64::from(index);
            let corrected = m * (1.0 - f64::from(separation_bias(m as f32).0));
            let median = median(m);
            assert!(
                (corrected - median).abs() < 0.05,
                "{m}: {corrected}, {median}"
            );
            // Where it matters, the uncorrected separation is three times as far off.
            assert!(
                !(0.79..1.31).contains(&m) || m - median > 0.15,
                "{m}: {median}"
            );
        }
    }

    #[test]
    fn the_slope_is_the_derivative() {
        for index in 1..60 {
            let (m, step) = (0.05 * index as f32, 1e-2);
            let slope =
                m * (separation_bias(m - step).0 - separation_bias(m + step).0) / (2.0 * step);
            assert!((slope - separation_bias(m).1).abs() < 2e-3, "{m}");
        }
    }

    fn pulse(time: f32, charge_pe: f32) -> FittedPulse {
        FittedPulse {
            time,
            charge_pe,
            time_sigma: 1.0,
            ..FittedPulse::default()
        }
    }

    #[test]
    fn distant_and_large_pulses_are_not_corrected() {
        let near = 12.0;
        for gap in 1..300 {
            let gap = 0.05 * gap as f32;
            for charge in [0.2, 1.0, 5.0] {
                let (shift, derivative) =
                    separation_correction(pulse(0.0, 1.0), pulse(gap, charge), near, 0.4);
                assert!(
                    (0.0..=SEPARATION_BIAS * gap).contains(&shift),
                    "{gap}: {shift}"
                );
                assert!((0.5..=1.5).contains(&derivative), "{gap}: {derivative}");
                assert!(
                    (gap < near && charge < 2.5) || (shift, derivative) == (0.0, 1.0),
                    "{gap}"
                );
            }
        }
    }

    /// The corrected pulses at a noise of a tenth of the height of one.
    fn corrected(pulses: &[FittedPulse]) -> Vec<FittedPulse> {
        let template = Template::new(&juno_template(0.05));
        let problem = FitProblem {
            template: &template,
            noise_adc: 11.5,
            judged_noise_adc: 11.5,
            charge_sigma_pe: 0.3,
            peak_adc: 115.0,
        };
        let mut fit = FitWorkspace {
            pulses: pulses.to_vec(),
            ..FitWorkspace::default()
        };
        fit.correct_separations(&problem);
        fit.pulses
    }

    #[test]
    fn a_pair_comes_closer_about_its_centre_of_charge() {
        let before = [pulse(300.0, 0.6), pulse(302.5, 1.4)];
        let after = corrected(&before);
        let centre = |pair: &[FittedPulse]| {
            pair.iter().map(|one| one.time * one.charge_pe).sum::<f32>() / 2.0
        };
        assert!((centre(&after) - centre(&before)).abs() < 1e-4, "{after:?}");
        let distance = after[1].time - after[0].time;
        assert!((2.0..2.2).contains(&distance), "{distance}");
        // The pulse with less charge moves farther.
        assert!(
            after[0].time - 300.0 > 2.0 * (302.5 - after[1].time),
            "{after:?}"
        );
        assert_eq!(after[0].charge_pe, 0.6);
        assert_eq!(after[0].time_sigma, after[1].time_sigma);
        assert!(after[0].time_sigma != 1.0, "the error changes too");
    }

    #[test]
    fn the_order_of_many_pulses_stays() {
        for gap in [0.05_f32, 0.5, 1.0, 2.0, 3.0, 5.0] {
            let before: Vec<FittedPulse> = [1.0, 0.3, 1.6, 0.9, 1.1]
                .into_iter()
                .zip([0.0, 1.0, 1.3, 2.3, 4.0])
                .map(|(charge, step)| pulse(300.0 + gap * step, charge))
                .collect();
            let after = corrected(&before);
            assert!(
                after.is_sorted_by(|a, b| a.time < b.time),
                "{gap}: {after:?}"
            );
            let middle =
                |all: &[FittedPulse]| all.iter().map(|one| one.time * one.charge_pe).sum::<f32>();
            assert!((middle(&after) - middle(&before)).abs() < 2e-3, "{gap}");
        }
        // The middle one of three is shifted by both; a distant one shifts nothing.
        let after = corrected(&[pulse(298.0, 1.0), pulse(300.0, 1.0), pulse(302.0, 1.0)]);
        assert!((after[1].time - 300.0).abs() < 1e-4, "{after:?}");
        assert!((after[0].time - 298.0 - (302.0 - after[2].time)).abs() < 1e-4);
        assert!(after[0].time > 298.1, "{after:?}");
        let alone = [pulse(100.0, 1.0), pulse(300.0, 1.0)];
        assert_eq!(corrected(&alone), alone);
    }
}
