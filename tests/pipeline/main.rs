//! `nuwave reconstruct`, `plan`, `merge` and `verify`: results, refusals, interrupted and divided passes.

#[path = "../support/mod.rs"]
mod support;

mod absolute_times;
mod channels;
mod events;
mod real_data;
mod real_data_events;
mod reconstruct;
mod refused_inputs;
mod refused_settings;
mod report_schema;
mod resume;
mod system_faults;
mod units;
mod workflow;
