//! `nuwave reconstruct`, `plan`, `merge` and `verify`: results, refusals, interrupted and divided passes.

#[path = "../support/mod.rs"]
mod support;

mod absolute_times;
mod asked_for;
mod channels;
mod contradictions;
mod cut_pulses;
mod events;
mod hits_charge;
mod real_data;
mod real_data_events;
mod reconstruct;
mod refused_inputs;
mod refused_settings;
mod report_schema;
mod resume;
mod system_faults;
mod two_runs;
mod units;
mod workflow;
