//! Files of waveforms: every format read and written, damaged and malformed files.

#[path = "../support/mod.rs"]
mod support;

mod arrow;
mod columns;
mod damage;
mod foreign;
mod fuzz_readers;
mod layouts;
mod malformed;
mod real_data;
mod records;
mod round_trips;
mod wavedump;
