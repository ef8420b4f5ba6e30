//! Rejects declared sizes larger than the file before HDF5 and Parquet allocate for them.
//!
//! The decoders trust some sizes that they read. A single damaged byte can then demand gigabytes, and a failed allocation
//! aborts the process: [`catch_panic`](crate::io::catch_panic) cannot turn that into an error.

pub(crate) mod hdf5;
pub(crate) mod parquet;
mod thrift;
