//! Mathematics that every result stands on.

pub(crate) mod matrix;
