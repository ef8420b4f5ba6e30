//! The version of nuwave, of its code and of its results.

/// The version of this library, as `Cargo.toml` states it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that this library was built from: twelve digits, with `-dirty` after them if the work tree had changes;
/// `unknown` if it was built outside a Git work tree and `NUWAVE_COMMIT` was not set.
pub const COMMIT: &str = env!("NUWAVE_COMMIT");
/// The version of the results. It is raised by every change of the code that changes a byte of the tables made from the same
/// inputs and settings; outputs of different versions are not mixed.
pub const RESULTS_VERSION: u32 = 3;
/// Version and commit in one text, as `nuwave --version` prints them.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("NUWAVE_COMMIT"), ")");
