//! Tests of the stages together, as physics.

pub(crate) mod helpers;
mod irregular;
mod physics;
mod template_fit;
