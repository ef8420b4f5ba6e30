//! Compares the results of the GPU with those of the CPU.

pub mod compare;
mod edges;
mod hit_matching;
pub mod stage_by_stage;
