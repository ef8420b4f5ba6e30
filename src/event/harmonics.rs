//! Fast sums over all PMTs of a sphere: the convolution theorem on the sphere.
//!
//! If `f(r, cos gamma) = sum_l a_l(r) P_l(cos gamma)` is the light of a PMT of efficiency 1, the light of all PMTs is
//! `sum_i e_i f(r, v.p_i) = sum_l a_l(r) S_l(v)`, `S_l(v) = sum_m c_lm R_lm(v)`. The `c_lm` contain the positions and
//! efficiencies of the PMTs and are computed once (addition theorem of spherical harmonics).
//!
//! `R_lm` are regular solid harmonics, `r^l P_lm(cos theta) exp(i m phi) / (l + m)!` without the sign `(-1)^m`; they
//! have no poles, and their derivatives are harmonics of the degree below (arXiv:1808.07061, appendix).

use num_complex::Complex64;

use crate::math;
use crate::model::vector::Vector;

/// Returns the index of `(l, m)`, `0 <= m <= l`, in a triangle.
fn coefficient_index(l: usize, m: usize) -> usize {
    l * (l + 1) / 2 + m
}

/// Computes all `R_lm` up to degree `degree` at `v`, in the order of `coefficient_index`.
fn solid(degree: usize, v: Vector, harmonics: &mut Vec<Complex64>) {
    harmonics.clear();
    harmonics.resize(coefficient_index(degree, degree) + 1, Complex64::ZERO);
    let [x, y, z] = v;
    let square = x * x + y * y + z * z;
    let plane = Complex64::new(x, y);
    harmonics[0] = Complex64::ONE;
    for l in 1..=degree {
        harmonics[coefficient_index(l, l)] =
            plane * harmonics[coefficient_index(l - 1, l - 1)] / (2.0 * l as f64);
        harmonics[coefficient_index(l, l - 1)] = z * harmonics[coefficient_index(l - 1, l - 1)];
        for m in 0..l - 1 {
            let one = harmonics[coefficient_index(l - 1, m)];
            let two = harmonics[coefficient_index(l - 2, m)];
            harmonics[coefficient_index(l, m)] =
                (z * (2 * l - 1) as f64 * one - square * two) / ((l + m) as f64 * (l - m) as f64);
        }
    }
}

/// Sums over PMTs, as a function of the direction that they are seen in.
#[derive(Clone, Debug, PartialEq)]
pub struct Harmonics {
    degree: usize,
    coefficients: Vec<Complex64>,
}

impl Harmonics {
    /// Computes the coefficients of PMTs in the unit directions `directions` with weights `weights`, up to degree `degree`.
    #[must_use]
    pub fn new(degree: usize, pmts: impl Iterator<Item = (Vector, f64)>) -> Self {
        let mut coefficients = vec![Complex64::ZERO; coefficient_index(degree, degree) + 1];
        let mut harmonics = Vec::new();
        for (direction, weight) in pmts {
            solid(degree, direction, &mut harmonics);
            for (sum, harmonic) in coefficients.iter_mut().zip(&harmonics) {
                *sum += weight * harmonic.conj();
            }
        }
        let mut factorial = vec![1.0_f64];
        for n in 1..=2 * degree {
            factorial.push(factorial[n - 1] * n as f64);
        }
        for l in 0..=degree {
            for m in 0..=l {
                let twice = if m == 0 { 1.0 } else { 2.0 };
                coefficients[coefficient_index(l, m)] *=
                    twice * factorial[l - m] * factorial[l + m];
            }
        }
        Self {
            degree,
            coefficients,
        }
    }

    /// `S_l` and its gradient in the unit direction `direction`, for each degree. `work` is working space.
    pub fn sums(
        &self,
        direction: Vector,
        work: &mut Vec<Complex64>,
        sums: &mut Vec<(f64, Vector)>,
    ) {
        solid(self.degree, direction, work);
        sums.clear();
        for l in 0..=self.degree {
            let (mut value, mut gradient) = (0.0, [0.0; 3]);
            for m in 0..=l {
                let c = self.coefficients[coefficient_index(l, m)];
                let real = |harmonic: Complex64| c.re * harmonic.re - c.im * harmonic.im;
                value += real(work[coefficient_index(l, m)]);
                if l == 0 {
                    continue;
                }
                let below = |order: usize| {
                    if order < l {
                        work[coefficient_index(l - 1, order)]
                    } else {
                        Complex64::ZERO
                    }
                };
                let left = if m == 0 {
                    -below(1).conj()
                } else {
                    below(m - 1)
                };
                let right = below(m + 1);
                gradient[0] += 0.5 * real(left - right);
                gradient[1] += 0.5 * real(Complex64::I * (left + right));
                gradient[2] += real(below(m));
            }
            sums.push((value, gradient));
        }
    }
}

/// Returns nodes and weights of the Gauss-Legendre quadrature on [-1, 1].
#[must_use]
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|k| {
            let mut x = math::cos(std::f64::consts::PI * (k as f64 + 0.75) / (n as f64 + 0.5));
            let mut slope = 1.0;
            for _ in 0..100 {
                let (value, value_slope) = legendre_with_slope(n, x);
                slope = value_slope;
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

fn legendre_with_slope(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for l in 2..=n {
        let next = ((2 * l - 1) as f64 * x * value - (l - 1) as f64 * before) / l as f64;
        before = value;
        value = next;
    }
    let slope = n as f64 * (before - x * value) / (1.0 - x * x);
    (value, slope)
}

/// `a_l`, `l = 0..=degree`, of a function of `cos gamma`: `a_l = (2 l + 1) / 2 integral f P_l`.
pub fn legendre_coefficients(
    degree: usize,
    rule: &[(f64, f64)],
    mut function: impl FnMut(f64) -> f64,
) -> Vec<f64> {
    let mut coefficients = vec![0.0; degree + 1];
    for &(x, weight) in rule {
        let value = weight * function(x);
        let (mut before, mut legendre) = (0.0, 1.0);
        for (l, sum) in coefficients.iter_mut().enumerate() {
            *sum += value * legendre;
            let next = ((2 * l + 1) as f64 * x * legendre - l as f64 * before) / (l + 1) as f64;
            before = legendre;
            legendre = next;
        }
    }
    for (l, sum) in coefficients.iter_mut().enumerate() {
        *sum *= (2 * l + 1) as f64 / 2.0;
    }
    coefficients
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vector::{dot, norm, scaled};

    fn pmts() -> Vec<(Vector, f64)> {
        (0..40)
            .map(|k| {
                let k = f64::from(k);
                let v = [
                    math::sin(1.7 * k),
                    math::cos(2.9 * k + 1.0),
                    math::sin(0.37 * k),
                ];
                (scaled(1.0 / norm(v), v), 1.0 + 0.3 * math::sin(5.0 * k))
            })
            .collect()
    }

    #[test]
    fn the_sum_over_harmonics_is_the_sum_over_pmts() {
        let function = |x: f64| 1.0 / (1.3 - x) + 0.2 * x;
        let rule = gauss_legendre(200);
        let degree = 40;
        let a = legendre_coefficients(degree, &rule, function);
        let harmonics = Harmonics::new(degree, pmts().into_iter());
        let (mut work, mut sums) = (Vec::new(), Vec::new());
        for v in [[0.0, 0.0, 1.0], [0.6, -0.48, 0.64], [1.0, 0.0, 0.0]] {
            harmonics.sums(v, &mut work, &mut sums);
            let sum: f64 = a.iter().zip(&sums).map(|(a, (s, _))| a * s).sum();
            let direct: f64 = pmts().iter().map(|(p, e)| e * function(dot(*p, v))).sum();
            assert!((sum / direct - 1.0).abs() < 1e-9, "{sum} {direct}");
            // S_l is homogeneous of degree l: v . grad S_l = l S_l, and differences agree.
            for axis in 0..3 {
                let mut moved = v;
                let h = 1e-6;
                moved[axis] += h;
                let (mut w, mut up) = (Vec::new(), Vec::new());
                harmonics.sums(moved, &mut w, &mut up);
                moved[axis] -= 2.0 * h;
                let mut down = Vec::new();
                harmonics.sums(moved, &mut w, &mut down);
                for l in 0..12 {
                    let slope = (up[l].0 - down[l].0) / (2.0 * h);
                    let scale = 1.0 + sums[l].0.abs() * (l as f64 + 1.0);
                    assert!(
                        (slope - sums[l].1[axis]).abs() < 1e-5 * scale,
                        "{l} {axis}: {slope} {}",
                        sums[l].1[axis]
                    );
                }
            }
        }
    }

    #[test]
    fn gauss_and_legendre_integrate_polynomials() {
        let rule = gauss_legendre(7);
        let integral: f64 = rule.iter().map(|(x, w)| w * x.powi(12)).sum();
        assert!((integral - 2.0 / 13.0).abs() < 1e-13);
    }
}
