// What comes back of each waveform and each hit: the extraction writes it, the compaction puts it into order.
// The Rust side stands in src/gpu/layout.rs; a test compares the offsets.

struct Summary {
    n_hits: u32,
    // Place of the first one in `hits`.
    first_hit: u32,
    flags: u32,
    baseline_adc: f32,
    baseline_sigma_adc: f32,
    noise_adc: f32,
    // What the fit begins with: seeds, which stand behind the hits, and the noise it goes by.
    n_seeds: u32,
    used_noise_adc: f32,
    // Where FITTED is set.
    chi2_ndf: f32,
}

struct Hit {
    time_ns: f32,
    charge_pe: f32,
    charge_sigma_pe: f32,
    time_sigma_ns: f32,
    flags: u32,
}
