//! Waveforms with truth, from a detector's description and a seed.
