//! Mathematics that results stand on.
//!
//! The functions of the standard library call the system's C library, whose versions differ in the last bits. Those here
//! are compiled in, so that two machines get the same bytes. Square roots, absolute values and rounding are exact everywhere;
//! for them the standard library's methods are right.

pub(crate) mod matrix;

/// A floating-point number that the functions of this module take.
pub(crate) trait Real: Copy {
    fn acos(self) -> Self;
    fn atan2(self, x: Self) -> Self;
    fn cbrt(self) -> Self;
    fn cos(self) -> Self;
    fn exp(self) -> Self;
    fn hypot(self, other: Self) -> Self;
    fn ln(self) -> Self;
    fn log10(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
    fn sin(self) -> Self;
    fn sinh(self) -> Self;
}

impl Real for f64 {
    fn acos(self) -> Self {
        libm::acos(self)
    }

    fn atan2(self, x: Self) -> Self {
        libm::atan2(self, x)
    }

    fn cbrt(self) -> Self {
        libm::cbrt(self)
    }

    fn cos(self) -> Self {
        libm::cos(self)
    }

    fn exp(self) -> Self {
        libm::exp(self)
    }

    fn hypot(self, other: Self) -> Self {
        libm::hypot(self, other)
    }

    fn ln(self) -> Self {
        libm::log(self)
    }

    fn log10(self) -> Self {
        libm::log10(self)
    }

    fn powf(self, exponent: Self) -> Self {
        libm::pow(self, exponent)
    }

    fn sin(self) -> Self {
        libm::sin(self)
    }

    fn sinh(self) -> Self {
        libm::sinh(self)
    }
}

/// Computed in double precision and rounded once.
impl Real for f32 {
    fn acos(self) -> Self {
        Real::acos(f64::from(self)) as f32
    }

    fn atan2(self, x: Self) -> Self {
        Real::atan2(f64::from(self), f64::from(x)) as f32
    }

    fn cbrt(self) -> Self {
        Real::cbrt(f64::from(self)) as f32
    }

    fn cos(self) -> Self {
        Real::cos(f64::from(self)) as f32
    }

    fn exp(self) -> Self {
        Real::exp(f64::from(self)) as f32
    }

    fn hypot(self, other: Self) -> Self {
        Real::hypot(f64::from(self), f64::from(other)) as f32
    }

    fn ln(self) -> Self {
        Real::ln(f64::from(self)) as f32
    }

    fn log10(self) -> Self {
        Real::log10(f64::from(self)) as f32
    }

    fn powf(self, exponent: Self) -> Self {
        Real::powf(f64::from(self), f64::from(exponent)) as f32
    }

    fn sin(self) -> Self {
        Real::sin(f64::from(self)) as f32
    }

    fn sinh(self) -> Self {
        Real::sinh(f64::from(self)) as f32
    }
}

/// Returns the arc cosine in radians.
pub(crate) fn acos<T: Real>(x: T) -> T {
    T::acos(x)
}

/// Returns the angle of the point (`x`, `y`) in radians.
pub(crate) fn atan2<T: Real>(y: T, x: T) -> T {
    T::atan2(y, x)
}

/// Returns the cube root.
pub(crate) fn cbrt<T: Real>(x: T) -> T {
    T::cbrt(x)
}

/// Returns the cosine of an angle in radians.
pub(crate) fn cos<T: Real>(x: T) -> T {
    T::cos(x)
}

/// Returns e to the power of `x`.
pub(crate) fn exp<T: Real>(x: T) -> T {
    T::exp(x)
}

/// Returns the root of the sum of the squares.
pub(crate) fn hypot<T: Real>(x: T, y: T) -> T {
    T::hypot(x, y)
}

/// Returns the natural logarithm.
pub(crate) fn ln<T: Real>(x: T) -> T {
    T::ln(x)
}

/// Returns the logarithm to base 10.
pub(crate) fn log10<T: Real>(x: T) -> T {
    T::log10(x)
}

/// Returns `base` to the power of `exponent`.
pub(crate) fn powf<T: Real>(base: T, exponent: T) -> T {
    T::powf(base, exponent)
}

/// Returns the sine of an angle in radians.
pub(crate) fn sin<T: Real>(x: T) -> T {
    T::sin(x)
}

/// Returns sine and cosine of an angle in radians.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    libm::sincos(x)
}

/// Returns the hyperbolic sine.
pub(crate) fn sinh<T: Real>(x: T) -> T {
    T::sinh(x)
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
