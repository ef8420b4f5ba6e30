//! Plots as SVG, used by `evaluate`, `inspect`, `calibrate` and `bench`.
//!
//! [`figure`] is a plot as data (panels, axes, series) and [`layout`] draws it; `dots`, `event_display` and
//! `waveform_display` are special plots. All of them draw on a [`canvas`] with one palette.

pub(crate) mod axis;
pub(crate) mod canvas;
pub(crate) mod colour_scale;
#[cfg(feature = "cli")]
pub(crate) mod dots;
#[cfg(feature = "cli")]
pub(crate) mod event_display;
pub(crate) mod figure;
#[cfg(feature = "cli")]
mod hammer_projection;
pub(crate) mod layout;
pub(crate) mod lettering;
mod marginal;
mod markers;
mod marks;
#[cfg(feature = "cli")]
mod sphere_map;
mod stems;
#[cfg(feature = "cli")]
pub(crate) mod waveform_display;
