//! Helpers that several areas of tests share: running `nuwave`, its output as a user reads it, made-up inputs.
#![allow(
    dead_code,
    unused_imports,
    reason = "each area of tests uses a part of it"
)]

pub mod formats;
pub mod light;
pub mod reconstruct;
#[cfg(unix)]
pub mod service;
pub mod snapshot;
pub mod units;
pub mod windows;

/// The correlation coefficient of pairs.
pub fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for pair in pairs {
        let (dx, dy) = (pair.0 - x, pair.1 - y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    xy / (xx * yy).sqrt()
}
