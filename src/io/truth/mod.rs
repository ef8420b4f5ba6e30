//! The truth of simulated data: photoelectrons and events, inside an HDF5 file or in Parquet files next to it.

mod hdf5;
mod read;
mod write;

pub(crate) use hdf5::is_in as is_in_hdf5;
pub use read::read_truth;
pub(crate) use write::{
    has_truth_file, remove_photoelectrons_file, write_events_file, write_truth_files,
};
