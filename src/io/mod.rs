//! Reads and writes files: waveforms, hits, tables, calibrations, light maps and truth.

pub(crate) mod atomic;
pub mod calibration;
pub(crate) mod catch_panic;
mod hdf5_file;
pub mod hits;
pub mod inputs;
pub mod light_maps;
pub(crate) mod limits;
pub(crate) mod metadata;
mod parquet_file;
pub(crate) mod system_errors;
pub mod tables;
mod truth;
pub mod waveforms;

pub use truth::read_truth;
pub use waveforms::{
    BatchLimit, ChannelId, ChannelOrigin, EndReport, Extent, Loss, MergedChannels, NamePattern,
    ReadOptions, Remark, Source, SourceInfo, StopCheck, WaveformSink, WriteInfo, create, open,
};
