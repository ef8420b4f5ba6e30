//! `hypot` under the names of the C library.
//!
//! glibc 2.35 gave `hypot` a new symbol version, so that a binary that imports it does not start on older systems, such as
//! Enterprise Linux 9 (2.34). nuwave itself does not call it, but the constant evaluator of the WGSL compiler does, through
//! `f64::asinh`. With these definitions the linker imports nothing.

// SAFETY: the C library's function of this name has the same signature and result.
#[unsafe(no_mangle)]
extern "C" fn hypot(x: f64, y: f64) -> f64 {
    libm::hypot(x, y)
}

// SAFETY: the C library's function of this name has the same signature and result.
#[unsafe(no_mangle)]
extern "C" fn hypotf(x: f32, y: f32) -> f32 {
    super::hypot(x, y)
}
