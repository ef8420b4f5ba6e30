//! Time profiles of the emission of light: eight with names.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::detector::{DecayComponent, Detector, Scintillation};
use crate::error::{Error, Result};

/// Name and meaning of every profile. All constants are nominal.
pub const PROFILES: &[(&str, &str)] = &[
    ("prompt", "all light at time 0"),
    ("ls", "the detector's own scintillation"),
    (
        "ls-alpha",
        "liquid scintillator under alphas: as `ls`, with the two slowest of four decays tripled \
         (4.6 ns 0.53, 15.1 ns 0.20, 76.1 ns 0.18, 397 ns 0.09)",
    ),
    ("slow-ls", "LAB with little fluor: rise 1.2 ns, decay 27 ns"),
    (
        "cherenkov",
        "water Cherenkov: direct light within 1 ns (Gaussian), a tenth scattered with a decay of 30 ns",
    ),
    ("argon", "liquid argon: 7 ns 0.25, 1500 ns 0.75"),
    ("uniform", "evenly over 300 ns"),
    (
        "double",
        "two flashes of the detector's own scintillation, 100 ns apart, half of the light each",
    ),
];

/// A time profile, ready to draw from.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    name: String,
    emission: Emission,
}

#[derive(Clone, Debug, PartialEq)]
enum Emission {
    Prompt,
    Decays(Scintillation),
    Cherenkov,
    Uniform { length_ns: f64 },
    Double { gap_ns: f64, flash: Scintillation },
}

impl Profile {
    /// The profile called `name` for `detector`; `default` is the detector's own (`ls`).
    ///
    /// # Errors
    /// If there is no such profile.
    pub fn named(name: &str, detector: &Detector) -> Result<Self> {
        let own = || detector.scintillation.clone();
        let emission = match name {
            "prompt" => Emission::Prompt,
            "ls" | "default" => Emission::Decays(own()),
            "ls-alpha" => decays(
                0.0,
                &[(4.6, 0.53), (15.1, 0.20), (76.1, 0.18), (397.0, 0.09)],
            ),
            "slow-ls" => decays(1.2, &[(27.0, 1.0)]),
            "cherenkov" => Emission::Cherenkov,
            "argon" => decays(0.0, &[(7.0, 0.25), (1500.0, 0.75)]),
            "uniform" => Emission::Uniform { length_ns: 300.0 },
            "double" => Emission::Double {
                gap_ns: 100.0,
                flash: own(),
            },
            _ => {
                let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
                return Err(Error::usage(format!("there is no time profile `{name}`"))
                    .with_hint(format!("profiles are {}", names.join(", "))));
            }
        };
        let name = if name == "default" { "ls" } else { name };
        Ok(Self {
            name: name.to_owned(),
            emission,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Draws an emission time, counted from the event's start.
    pub(super) fn draw_ns(&self, rng: &mut ChaCha8Rng) -> f64 {
        match &self.emission {
            Emission::Prompt => 0.0,
            Emission::Decays(scintillation) => draw_decay_ns(scintillation, rng),
            Emission::Cherenkov => {
                let spread: f64 = StandardNormal.sample(rng);
                if rng.random::<f64>() < 0.1 {
                    let decay: f64 = Exp1.sample(rng);
                    spread + 30.0 * decay
                } else {
                    spread
                }
            }
            Emission::Uniform { length_ns } => length_ns * rng.random::<f64>(),
            Emission::Double { gap_ns, flash } => {
                let start_ns = if rng.random::<bool>() { *gap_ns } else { 0.0 };
                start_ns + draw_decay_ns(flash, rng)
            }
        }
    }
}

fn decays(rise_ns: f64, components: &[(f64, f64)]) -> Emission {
    Emission::Decays(Scintillation {
        rise_ns,
        components: components
            .iter()
            .map(|&(tau_ns, weight)| DecayComponent { tau_ns, weight })
            .collect(),
    })
}

/// Draws the sum of an exponential rise time and one of the decays.
pub(super) fn draw_decay_ns(scintillation: &Scintillation, rng: &mut ChaCha8Rng) -> f64 {
    let total: f64 = scintillation
        .components
        .iter()
        .map(|part| part.weight)
        .sum();
    let mut left = total * rng.random::<f64>();
    let mut tau_ns = 0.0;
    for part in &scintillation.components {
        tau_ns = part.tau_ns;
        left -= part.weight;
        if left < 0.0 {
            break;
        }
    }
    let decay: f64 = Exp1.sample(rng);
    let mut time_ns = tau_ns * decay;
    if scintillation.rise_ns > 0.0 {
        let rise: f64 = Exp1.sample(rng);
        time_ns += scintillation.rise_ns * rise;
    }
    time_ns
}

#[cfg(test)]
mod tests {
    use super::super::random::{Purpose, stream};
    use super::*;

    fn mean_ns(name: &str) -> f64 {
        let detector = crate::detector::load("juno").expect("a preset");
        let profile = Profile::named(name, &detector).expect("a profile");
        let mut rng = stream(5, 0, 0, Purpose::Light);
        let n = 100_000;
        (0..n).map(|_| profile.draw_ns(&mut rng)).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn mean_times_are_those_of_the_formulas() {
        // Expected mean and five standard errors of 100,000 draws.
        for (name, mean, tolerance) in [
            ("prompt", 0.0, 0.0),
            ("ls", 22.03, 1.4),
            ("ls-alpha", 54.9, 2.8),
            ("slow-ls", 28.2, 0.45),
            ("cherenkov", 3.0, 0.22),
            ("argon", 1126.75, 24.0),
            ("uniform", 150.0, 1.4),
            ("double", 72.03, 1.6),
        ] {
            let found = mean_ns(name);
            assert!(
                (found - mean).abs() <= tolerance,
                "{name}: {found}, expected {mean}"
            );
        }
        assert_eq!(PROFILES.len(), 8);
    }

    #[test]
    fn every_listed_profile_exists_and_no_other() {
        let detector = crate::detector::load("juno").expect("a preset");
        for (name, _) in PROFILES {
            assert_eq!(
                Profile::named(name, &detector).expect("listed").name(),
                *name
            );
        }
        let error = Profile::named("flash", &detector).expect_err("not listed");
        let hints = format!("{:?}", error.hints());
        assert!(hints.contains("ls-alpha"), "{error}: {hints}");
    }
}
