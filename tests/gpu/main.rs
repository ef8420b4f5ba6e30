//! Tests of the GPU backend. They are ignored by default: they need an adapter, software included.

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod bench;
mod exit;
mod faults;
mod service;
mod units;
