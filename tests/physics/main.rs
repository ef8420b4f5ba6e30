//! Extraction, events, simulation, calibration and evaluation against known truth.

#[path = "../support/mod.rs"]
mod support;

mod calibrate_light;
mod calibrate_spe;
mod calibrate_spe_bad_runs;
mod evaluate;
mod evaluate_events;
mod event_fit;
mod event_optimum;
mod extract_any_input;
mod real_data;
mod simulate;
mod simulate_events;
mod simulate_events_command;
mod thread_pool;
mod unit_of_samples;
