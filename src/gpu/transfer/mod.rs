//! Moves chunks of waveforms to the device and their results back.
//!
//! A [`RingSlot`](ring_slot::RingSlot) has the buffers of one chunk ([`buffers`]): it writes the chunk ([`upload`]), records the kernels
//! ([`record`], cut into dispatches by [`dispatch`]) and reads the results ([`read_back`]). [`merge_results`] joins them with
//! those of the CPU. [`in_flight`] keeps the chunks that are on their way.

pub mod buffers;
pub mod chunk;
pub mod dispatch;
pub mod in_flight;
pub mod merge_results;
mod read_back;
mod record;
pub mod ring_slot;
mod upload;
