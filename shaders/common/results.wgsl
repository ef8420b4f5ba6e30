// Results per waveform and per hit: the extraction writes them, the compaction sorts them by waveform.
// The Rust side stands in src/gpu/layout.rs; a test compares the offsets.

struct Summary {
    n_hits: u32,
    // Index of the first hit in `hits`.
    first_hit: u32,
    flags: u32,
    baseline_adc: f32,
    baseline_sigma_adc: f32,
    noise_adc: f32,
    // Input of the fit: number of seeds, which follow the hits, and the noise.
    n_seeds: u32,
    used_noise_adc: f32,
    // Valid if FITTED is set.
    chi2_ndf: f32,
}

struct Hit {
    time_ns: f32,
    charge_pe: f32,
    charge_sigma_pe: f32,
    time_sigma_ns: f32,
    flags: u32,
}
