//! Mathematical functions with the same results on every machine.
//!
//! The functions of the standard library call the system's C library, whose versions differ in the last bits. The functions
//! here are compiled in, so that two machines get the same bytes. Square roots, absolute values and rounding are exact
//! everywhere; for them the standard library's methods are right.

#[cfg(all(feature = "gpu", target_os = "linux", target_env = "gnu"))]
mod glibc;
pub(crate) mod matrix;

/// A floating-point number that the functions of this module take. All of them compute in double precision; a result in
/// single precision is rounded once.
pub(crate) trait Real: Copy + Into<f64> {
    /// Returns the nearest number.
    fn from_f64(x: f64) -> Self;
}

impl Real for f64 {
    fn from_f64(x: f64) -> Self {
        x
    }
}

impl Real for f32 {
    fn from_f64(x: f64) -> Self {
        x as Self
    }
}

/// Returns the arc cosine in radians.
pub(crate) fn acos<T: Real>(x: T) -> T {
    T::from_f64(libm::acos(x.into()))
}

/// Returns the angle of the point (`x`, `y`) in radians.
pub(crate) fn atan2<T: Real>(y: T, x: T) -> T {
    T::from_f64(libm::atan2(y.into(), x.into()))
}

/// Returns the cube root.
pub(crate) fn cbrt<T: Real>(x: T) -> T {
    T::from_f64(libm::cbrt(x.into()))
}

/// Returns the cosine of an angle in radians.
pub(crate) fn cos<T: Real>(x: T) -> T {
    T::from_f64(libm::cos(x.into()))
}

/// Returns e to the power of `x`.
pub(crate) fn exp<T: Real>(x: T) -> T {
    T::from_f64(libm::exp(x.into()))
}

/// Returns the root of the sum of the squares.
pub(crate) fn hypot<T: Real>(x: T, y: T) -> T {
    T::from_f64(libm::hypot(x.into(), y.into()))
}

/// Returns the natural logarithm.
pub(crate) fn ln<T: Real>(x: T) -> T {
    T::from_f64(libm::log(x.into()))
}

/// Returns the logarithm to base 10.
#[cfg(feature = "plots")]
pub(crate) fn log10<T: Real>(x: T) -> T {
    T::from_f64(libm::log10(x.into()))
}

/// Returns `base` to the power of `exponent`.
pub(crate) fn powf<T: Real>(base: T, exponent: T) -> T {
    T::from_f64(libm::pow(base.into(), exponent.into()))
}

/// Returns the sine of an angle in radians.
pub(crate) fn sin<T: Real>(x: T) -> T {
    T::from_f64(libm::sin(x.into()))
}

/// Returns sine and cosine of an angle in radians.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    libm::sincos(x)
}

/// Returns the hyperbolic sine.
pub(crate) fn sinh<T: Real>(x: T) -> T {
    T::from_f64(libm::sinh(x.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by arbitrary-precision arithmetic, rounded to the nearest number.
    #[test]
    fn functions_agree_with_known_values_to_the_last_bits() {
        for (found, expected) in [
            (exp(1.0), std::f64::consts::E),
            (ln(10.0), std::f64::consts::LN_10),
            (ln(2.0), std::f64::consts::LN_2),
            (log10(2.0), std::f64::consts::LOG10_2),
            (sin(std::f64::consts::FRAC_PI_6), 0.499_999_999_999_999_94),
            (
                cos(std::f64::consts::FRAC_PI_4),
                std::f64::consts::FRAC_1_SQRT_2,
            ),
            (acos(0.0), std::f64::consts::FRAC_PI_2),
            (atan2(1.0, -1.0), 3.0 * std::f64::consts::FRAC_PI_4),
            (cbrt(27.0), 3.0),
            (hypot(3.0, 4.0), 5.0),
            (powf(2.0, 0.5), std::f64::consts::SQRT_2),
            (sinh(1.0), 1.175_201_193_643_801_4),
        ] {
            assert!(
                (found - expected).abs() <= 2.0 * f64::EPSILON * expected.abs(),
                "{found} {expected}"
            );
        }
        assert_eq!(sin_cos(0.7), (sin(0.7), cos(0.7)));
    }

    #[test]
    fn single_precision_is_rounded_once() {
        assert_eq!(ln(3.0_f32), ln(3.0_f64) as f32);
        assert_eq!(hypot(1.0_f32, 1.0), std::f32::consts::SQRT_2);
    }
}
