//! Tests of the stages together, as physics.

pub(crate) mod helpers;
mod irregular;
mod other_pulses;
mod physics;
mod template_fit;
