//! Vectors of three numbers.

/// A position or a direction.
pub type Vector = [f64; 3];

/// Returns `a . b`.
#[must_use]
#[inline]
pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Returns the length of `a`.
#[must_use]
#[inline]
pub fn norm(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// Returns `a - b`.
#[must_use]
#[inline]
pub fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Returns `a + s b`.
#[must_use]
#[inline]
pub fn plus_scaled(a: Vector, s: f64, b: Vector) -> Vector {
    [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]]
}

/// Returns `s a`.
#[must_use]
#[inline]
pub fn scaled(s: f64, a: Vector) -> Vector {
    [s * a[0], s * a[1], s * a[2]]
}
