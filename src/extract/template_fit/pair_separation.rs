//! The last step of the method `sparse`: distances of photoelectrons that stand close become those in the middle of what is likely.
//!
//! Two photoelectrons of charges q1 and q2 that stand d apart look like one plus q1 q2 / (q1 + q2) d^2 s'' / 2. In units of the noise that
//! is m^2 = n q1 q2 d^2 / (2 (q1 + q2) noise), where n^2 = |s''|^2 - |s'|^4 / |s|^2 is what s does not explain of s''. The samples say
//! m^2 and a normal number, y. A fit that pushes photoelectrons apart ([`priors`](super::priors)) ends where m^2 - kappa / (2 m^2) = y,
//! a good place for the fit to go on from, but too far apart: if all distances are alike beforehand, given y they have the density
//! exp(-(y - m^2)^2 / 2), and its median is shorter, by a fifth about m = 0.9 and by next to nothing beyond m = 2. It is the median that
//! has the least error in the mean. The centre of charge of a pair stays. Two that are several photoelectrons each stay apart as they were.
//! Chi-square stays that of the fit, from which this is a hundredth of a standard deviation or so away.

use super::fit::{Light, NEIGHBOURS, Problem, Work};
use super::priors::company;

/// By what part distances become shorter at most, at which m, and how far from it not at all: close to the median of that density.
pub(crate) const SHORTER: f32 = 0.2;
pub(crate) const SHORTER_AT: f32 = 0.92;
pub(crate) const SHORTER_WITHIN: f32 = 1.2;
/// Two that have less charge than the first together, in PE, are two photoelectrons; what has more than the second is several, and this says
/// nothing of their distance; between them it fades.
pub(crate) const TWO_PE: (f32, f32) = (2.5, 3.5);

impl Work {
    /// Shortens the distances of neighbours. The errors of their times change as distances do, by the derivative: less where one may be two,
    /// more where it begins to show.
    pub(super) fn shorten(&mut self, problem: &Problem<'_>) {
        let near = NEIGHBOURS * problem.response.scale;
        let [of_value, of_slope, of_curvature] = problem.response.squares;
        let left = (of_curvature - of_slope * of_slope / of_value).max(0.0);
        let by_noise = left.sqrt() / (2.0 * problem.noise_adc);
        self.before.clear();
        self.before.extend_from_slice(&self.light);
        for (index, light) in self.light.iter_mut().enumerate() {
            let own = self.before[index];
            if let Some(before) = index.checked_sub(1) {
                let other = self.before[before];
                let (closer, stretch) = towards(other, own, near, by_noise);
                light.at -= closer * other.charge_pe / (other.charge_pe + own.charge_pe);
                light.at_sigma *= stretch;
            }
            if let Some(&other) = self.before.get(index + 1) {
                let (closer, stretch) = towards(own, other, near, by_noise);
                light.at += closer * other.charge_pe / (other.charge_pe + own.charge_pe);
                light.at_sigma *= stretch;
            }
        }
    }
}

/// By how much two come closer, in samples, and how their distance changes with what the fit found.
fn towards(first: Light, second: Light, near: f32, by_noise: f32) -> (f32, f32) {
    let distance = second.at - first.at;
    let together_pe = first.charge_pe + second.charge_pe;
    let two = ((TWO_PE.1 - together_pe) / (TWO_PE.1 - TWO_PE.0)).clamp(0.0, 1.0);
    let company = two * company(distance, near);
    let charge_pe = first.charge_pe * second.charge_pe / together_pe;
    let (part, slope) = shorter(distance * (by_noise * charge_pe).sqrt());
    let part = company * part;
    (distance * part, 1.0 - part + company * slope)
}

/// The part by which a distance of `m` is shortened, and m times its fall with m.
fn shorter(m: f32) -> (f32, f32) {
    let z = (m - SHORTER_AT) / SHORTER_WITHIN;
    let q = (1.0 - z * z).max(0.0);
    (
        SHORTER * q * q * q,
        6.0 * SHORTER * z * q * q * m / SHORTER_WITHIN,
    )
}

#[cfg(test)]
mod tests {
    use super::super::priors::REPULSION;
    use super::super::template::Response;
    use super::*;
    use crate::extract::tests::helpers::juno_template;

    /// The median distance where all are alike beforehand and the fit ends at `m`, by summing the density up.
    fn median(m: f64) -> f64 {
        let y = m * m - 0.5 * f64::from(REPULSION) / (m * m);
        let step = 1e-3;
        let density = |d: f64| (-0.5 * (y - d * d).powi(2)).exp();
        let all: f64 = (0..8000)
            .map(|index| density(step * f64::from(index)))
            .sum();
        let mut sum = 0.0;
        let middle = (0..8000).position(|index| {
            sum += density(step * f64::from(index));
            sum >= 0.5 * all
        });
        step * middle.expect("half of all is less than all") as f64
    }

    #[test]
    fn a_distance_is_shortened_to_near_the_median() {
        for index in 8..=60 {
            let m = 0.05 * f64::from(index);
            let shortened = m * (1.0 - f64::from(shorter(m as f32).0));
            let median = median(m);
            assert!(
                (shortened - median).abs() < 0.05,
                "{m}: {shortened}, {median}"
            );
            // Where it matters what the fit ends at is three times as far off.
            assert!(
                !(0.79..1.31).contains(&m) || m - median > 0.15,
                "{m}: {median}"
            );
        }
    }

    #[test]
    fn the_fall_is_the_derivative() {
        for index in 1..60 {
            let (m, step) = (0.05 * index as f32, 1e-2);
            let fall = m * (shorter(m - step).0 - shorter(m + step).0) / (2.0 * step);
            assert!((fall - shorter(m).1).abs() < 2e-3, "{m}");
        }
    }

    fn light(at: f32, charge_pe: f32) -> Light {
        Light {
            at,
            charge_pe,
            at_sigma: 1.0,
            ..Light::default()
        }
    }

    #[test]
    fn what_is_far_or_several_stays_where_it_is() {
        let near = 12.0;
        for gap in 1..300 {
            let gap = 0.05 * gap as f32;
            for charge in [0.2, 1.0, 5.0] {
                let (closer, stretch) = towards(light(0.0, 1.0), light(gap, charge), near, 0.4);
                assert!((0.0..=SHORTER * gap).contains(&closer), "{gap}: {closer}");
                assert!((0.5..=1.5).contains(&stretch), "{gap}: {stretch}");
                assert!(
                    (gap < near && charge < 2.5) || (closer, stretch) == (0.0, 1.0),
                    "{gap}"
                );
            }
        }
    }

    /// What becomes of photoelectrons at a noise of a tenth of one's height.
    fn shortened(light: &[Light]) -> Vec<Light> {
        let response = Response::new(&juno_template(0.05));
        let problem = Problem {
            response: &response,
            noise_adc: 11.5,
            charge_sigma_pe: 0.3,
            peak_adc: 115.0,
        };
        let mut work = Work::default();
        work.light = light.to_vec();
        work.shorten(&problem);
        work.light
    }

    #[test]
    fn a_pair_comes_closer_about_its_centre_of_charge() {
        let before = [light(300.0, 0.6), light(302.5, 1.4)];
        let after = shortened(&before);
        let centre =
            |pair: &[Light]| pair.iter().map(|one| one.at * one.charge_pe).sum::<f32>() / 2.0;
        assert!((centre(&after) - centre(&before)).abs() < 1e-4, "{after:?}");
        let distance = after[1].at - after[0].at;
        assert!((2.0..2.2).contains(&distance), "{distance}");
        // The lighter one goes farther.
        assert!(
            after[0].at - 300.0 > 2.0 * (302.5 - after[1].at),
            "{after:?}"
        );
        assert_eq!(after[0].charge_pe, 0.6);
        assert_eq!(after[0].at_sigma, after[1].at_sigma);
        assert!(after[0].at_sigma != 1.0, "the error changes too");
    }

    #[test]
    fn order_stays_in_a_crowd() {
        for gap in [0.05_f32, 0.5, 1.0, 2.0, 3.0, 5.0] {
            let before: Vec<Light> = [1.0, 0.3, 1.6, 0.9, 1.1]
                .into_iter()
                .zip([0.0, 1.0, 1.3, 2.3, 4.0])
                .map(|(charge, place)| light(300.0 + gap * place, charge))
                .collect();
            let after = shortened(&before);
            assert!(after.is_sorted_by(|a, b| a.at < b.at), "{gap}: {after:?}");
            let middle = |all: &[Light]| all.iter().map(|one| one.at * one.charge_pe).sum::<f32>();
            assert!((middle(&after) - middle(&before)).abs() < 2e-3, "{gap}");
        }
        // The middle one of three is drawn both ways, and by one that is far not at all.
        let after = shortened(&[light(298.0, 1.0), light(300.0, 1.0), light(302.0, 1.0)]);
        assert!((after[1].at - 300.0).abs() < 1e-4, "{after:?}");
        assert!((after[0].at - 298.0 - (302.0 - after[2].at)).abs() < 1e-4);
        assert!(after[0].at > 298.1, "{after:?}");
        let alone = [light(100.0, 1.0), light(300.0, 1.0)];
        assert_eq!(shortened(&alone), alone);
    }
}
