// What a kernel of the fit has room for. Overrides stand before what is made of them: naga 30 does not sort them.

// Room for photoelectrons.
override ROOM: u32 = 8u;
// Steps after which a fit is left to the CPU.
override MOST_STEPS: u32 = 1000u;
// Columns at most: charge and time of each photoelectron, and the baseline.
override COLUMNS: u32 = 2u * ROOM + 1u;
override TRIANGLE: u32 = (COLUMNS + 1u) * (COLUMNS + 2u) / 2u;
override ROWS: u32 = 2u * COLUMNS;
override SUMS: u32 = ROOM + 1u;
// Room for samples.
override SAMPLES: u32 = 1024u;
// Lanes of the sums that are under way at once: a multiple of LANES, at least WIDTH.
override PARTIALS: u32 = 64u;
