//! Compares the results of the GPU with those of the CPU.

pub mod compare;
pub mod stage_by_stage;
