//! Tests of the stages together, as physics.

pub(crate) mod helpers;
mod physics;
mod template_fit;
