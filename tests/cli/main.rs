//! The commands that look at data, machines and detectors, and what all commands have in common.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod detector;
mod devices;
mod flags;
mod help;
mod inspect;
mod inspect_event;
mod numbers;
