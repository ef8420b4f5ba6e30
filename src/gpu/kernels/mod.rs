//! The kernels: their shaders, and everything that the host has to know to run them.
//!
//! [`registry`] lists the kernels and has a file for each that describes it as a [`kernel::Kernel`].
//! The text of a shader is put together by [`imports`] from the files under `shaders/` and from text that is generated from Rust
//! definitions: the structs in [`shared_types`], the buffers in [`bindings`], the numbers in [`constants`].

pub mod bindings;
pub mod constants;
pub mod imports;
pub mod kernel;
pub mod numbers;
pub mod registry;
pub mod shared_types;

#[cfg(test)]
mod tests;
