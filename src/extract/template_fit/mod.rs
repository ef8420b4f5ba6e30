//! The template fit of the methods `sparse` and `auto`, which resolves pile-up: a waveform as a sum of few templates ([`fit`]).
//!
//! [`config`] and [`state`] have the constants and the data, [`template`], [`spline`] and [`normal_equations`] the linear algebra; the other
//! files are the steps of the fit.

pub(crate) mod add_pulses;
pub(crate) mod config;
pub(crate) mod fit;
pub(crate) mod iterate;
pub(crate) mod normal_equations;
pub(crate) mod pair_separation;
pub(crate) mod priors;
pub(crate) mod prune;
pub(crate) mod seeds;
pub(crate) mod spline;
pub(crate) mod state;
pub(crate) mod template;
