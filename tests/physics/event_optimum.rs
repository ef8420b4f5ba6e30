//! The event fit and an independent minimiser find the same optimum.

use crate::support::light::{drawn, model};
use argmin::core::{CostFunction, Error, Executor, Gradient, State as _};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::neldermead::NelderMead;
use argmin::solver::quasinewton::LBFGS;
use nuwave::detector;
use nuwave::event::{EventFit, EventMethod, EventReconstructor};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// About the fit's standard deviations, so that all parameters are alike to a minimiser.
const SCALE: [f64; 5] = [50.0, 50.0, 50.0, 0.2, 0.03];

struct Problem<'a, 'b> {
    fit: &'a EventFit<'b>,
    origin: [f64; 5],
}

impl Problem<'_, '_> {
    fn point(&self, x: &[f64]) -> [f64; 5] {
        std::array::from_fn(|k| self.origin[k] + SCALE[k] * x[k])
    }
}

impl CostFunction for &Problem<'_, '_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, x: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.fit.minus_log_likelihood(&self.point(x)).0)
    }
}

impl Gradient for &Problem<'_, '_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, x: &Vec<f64>) -> Result<Vec<f64>, Error> {
        let (_, gradient) = self.fit.minus_log_likelihood(&self.point(x));
        Ok(gradient.iter().zip(SCALE).map(|(g, s)| g * s).collect())
    }
}

/// Down with gradients from the seed, and then without them, from a simplex as wide as the errors.
fn independent(problem: &Problem<'_, '_>) -> [f64; 5] {
    let search = LBFGS::new(MoreThuenteLineSearch::new(), 7);
    let found = Executor::new(problem, search)
        .configure(|state| state.param(vec![0.0; 5]).max_iters(100))
        .run();
    // A line search that cannot go on ends the run with an error: then the simplex has to go all the way.
    let best = found
        .ok()
        .and_then(|result| result.state.get_best_param().cloned())
        .unwrap_or(vec![0.0; 5]);
    let simplex = (0..6)
        .map(|corner| {
            let mut x = best.clone();
            if corner > 0 {
                x[corner - 1] += 0.5;
            }
            x
        })
        .collect();
    let search = NelderMead::new(simplex)
        .with_sd_tolerance(1e-9)
        .expect("a tolerance");
    let result = Executor::new(problem, search)
        .configure(|state| state.max_iters(1000))
        .run()
        .expect("a simplex always ends");
    problem.point(result.state.get_best_param().expect("a best point"))
}

#[test]
fn an_independent_minimiser_finds_the_same_optimum() {
    let detector = detector::load("juno").expect("a preset");
    let light = model(&detector);
    let full =
        EventReconstructor::new(&detector, Some(light.clone()), EventMethod::Full).expect("maps");
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut worst = [0.0_f64; 5];
    for event in 0..100 {
        let r_mm = 17_000.0 * rng.random::<f64>().cbrt();
        let z = 2.0 * rng.random::<f64>() - 1.0;
        let (sine, cosine) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        let across = r_mm * (1.0 - z * z).sqrt();
        let vertex = [across * cosine, across * sine, r_mm * z];
        let energy_mev = 1500.0 / light.expected_total(vertex).0;
        let hits = drawn(&light, vertex, energy_mev, &mut rng);
        let fit = full.fit(&hits).expect("maps").expect("enough hits");
        let (ours, converged) = fit.best();
        assert!(converged, "event {event}");
        let theirs = independent(&Problem {
            fit: &fit,
            origin: fit.seed,
        });
        let difference = std::array::from_fn::<f64, 5, _>(|k| (ours[k] - theirs[k]).abs());
        let off_kev = 1e3 * (ours[4].exp() - theirs[4].exp()).abs();
        assert!(
            difference[..3].iter().all(|x| *x < 1.0) && off_kev < 1.0,
            "event {event} at {r_mm:.0} mm: {ours:?} {theirs:?}, {off_kev} keV; ours is higher by {}",
            fit.minus_log_likelihood(&ours).0 - fit.minus_log_likelihood(&theirs).0
        );
        for (worst, x) in worst.iter_mut().zip(difference) {
            *worst = worst.max(x);
        }
    }
    println!("largest differences: {worst:?}");
}
