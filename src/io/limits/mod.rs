//! What a file may claim: sizes that its own size contradicts, found before a library makes room for them.
//!
//! The decoders of HDF5 and Parquet believe some sizes that they read. A damaged byte then asks for gigabytes, and a
//! process that does not get them ends; [`guard`](crate::io::catch_panic) cannot turn that into an error.

pub(crate) mod hdf5;
pub(crate) mod parquet;
mod thrift;
