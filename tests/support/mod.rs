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
