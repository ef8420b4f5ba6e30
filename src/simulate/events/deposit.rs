//! Energy deposits of a particle.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};
use serde::{Deserialize, Serialize};

use super::photons::isotropic;
use crate::model::vector::{Vector, plus_scaled};

/// Mean free path of a gamma between two Compton electrons (nominal, for about 1 MeV in scintillator).
const GAMMA_STEP_MM: f64 = 150.0;
/// A gamma below this energy transfers all of it to one electron.
const LAST_ELECTRON_MEV: f64 = 0.1;
/// Rest energy of the electron.
const ELECTRON_MEV: f64 = 0.510_998_95;

/// The particle that deposits an event's energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Particle {
    /// All at one point
    #[default]
    Electron,
    /// Several electrons along the path of a gamma; less visible light than one electron of the same energy
    Gamma,
    /// Its kinetic energy at the point, and two gammas of 0.511 MeV back to back
    Positron,
}

/// Returns points with their energies, and the total deposited energy. `energy_mev` is the particle's kinetic energy.
pub(super) fn draw_deposits(
    particle: Particle,
    vertex: Vector,
    energy_mev: f64,
    rng: &mut ChaCha8Rng,
) -> (Vec<(Vector, f64)>, f64) {
    let mut deposits = Vec::new();
    match particle {
        Particle::Electron => deposits.push((vertex, energy_mev)),
        Particle::Gamma => {
            let direction = isotropic(rng);
            add_gamma(vertex, direction, energy_mev, rng, &mut deposits);
        }
        Particle::Positron => {
            deposits.push((vertex, energy_mev));
            let direction = isotropic(rng);
            add_gamma(vertex, direction, ELECTRON_MEV, rng, &mut deposits);
            add_gamma(
                vertex,
                direction.map(|x| -x),
                ELECTRON_MEV,
                rng,
                &mut deposits,
            );
        }
    }
    let deposited_mev = deposits.iter().map(|one| one.1).sum();
    (deposits, deposited_mev)
}

/// Adds a gamma's electrons: each takes a uniform share of up to the Compton edge, `2 k / (1 + 2 k)` of the energy, where `k` is
/// the energy over the electron's rest energy; the gamma continues in a new direction.
fn add_gamma(
    from: Vector,
    direction: Vector,
    energy_mev: f64,
    rng: &mut ChaCha8Rng,
    deposits: &mut Vec<(Vector, f64)>,
) {
    let (mut position, mut direction, mut left_mev) = (from, direction, energy_mev);
    loop {
        let step: f64 = Exp1.sample(rng);
        position = plus_scaled(position, GAMMA_STEP_MM * step, direction);
        if left_mev < LAST_ELECTRON_MEV {
            deposits.push((position, left_mev));
            return;
        }
        let k = left_mev / ELECTRON_MEV;
        let taken_mev = left_mev * rng.random::<f64>() * 2.0 * k / (1.0 + 2.0 * k);
        deposits.push((position, taken_mev));
        left_mev -= taken_mev;
        direction = isotropic(rng);
    }
}
