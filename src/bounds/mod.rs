//! What a file may claim: sizes that its own size contradicts, found before a library makes room for them.
//!
//! The decoder of HDF5 believes some sizes that it reads. A damaged byte then asks for gigabytes, and a
//! process that does not get them ends; [`guard`](crate::guard) cannot turn that into an error.

pub(crate) mod hdf5;
