// Capacities of a kernel of the fit. Overrides come before those that are computed from them: naga 30 does not sort them.

// Pulses.
override PULSE_CAPACITY: u32 = 8u;
// Steps in total after which a fit is left to the CPU.
override MAX_TOTAL_STEPS: u32 = 1000u;
// Columns: charge and time of each pulse, and the baseline.
override MAX_COLUMNS: u32 = 2u * PULSE_CAPACITY + 1u;
override TRIANGLE: u32 = (MAX_COLUMNS + 1u) * (MAX_COLUMNS + 2u) / 2u;
override ROWS: u32 = 2u * MAX_COLUMNS;
override SUMS: u32 = PULSE_CAPACITY + 1u;
// Samples.
override SAMPLE_CAPACITY: u32 = 1024u;
// Lanes of the sums that are computed at once: a multiple of LANES, at least WIDTH.
override PARTIALS: u32 = 64u;
