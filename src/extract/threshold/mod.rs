//! The methods without deconvolution, `integral` and `coti`.

pub(crate) mod over_threshold;
