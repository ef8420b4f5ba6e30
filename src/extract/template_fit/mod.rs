//! The pile-up fit of the methods `sparse` and `auto`: a waveform as a sum of few templates.

pub(crate) mod add_pulses;
pub(crate) mod fit;
pub(crate) mod normal_equations;
pub(crate) mod pair_separation;
pub(crate) mod priors;
pub(crate) mod prune;
pub(crate) mod seeds;
pub(crate) mod template;
