//! The last step of every backend: totals, flags and the check that all results are finite.

use crate::model::{Flags, Hit, WaveformSummary};

/// Finalizes the hits from `first_hit` on and the summary of a waveform: shifts times by `shift_ns`, merges flags of hits and waveform,
/// sums charges, sorts by time. If a result is not finite, the waveform has no hits and keeps only `flags`.
pub(crate) fn finalize(
    mut summary: WaveformSummary,
    flags: Flags,
    hits: &mut Vec<Hit>,
    first_hit: usize,
    shift_ns: f32,
) -> WaveformSummary {
    let mut charge_pe = 0.0;
    for hit in &mut hits[first_hit..] {
        hit.time_ns += shift_ns;
        hit.flags |=
            summary.flags & (Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::NO_CALIBRATION);
        charge_pe += hit.charge_pe;
        summary.flags |= hit.flags;
    }
    // Samples so large that their sums overflow count as infinite.
    let numbers = [
        charge_pe,
        summary.baseline_adc,
        summary.baseline_sigma_adc,
        summary.noise_adc,
    ];
    let of_hits = hits[first_hit..]
        .iter()
        .flat_map(|hit| [hit.time_ns, hit.charge_pe, hit.charge_sigma_pe]);
    if !numbers.into_iter().chain(of_hits).all(f32::is_finite) {
        hits.truncate(first_hit);
        return WaveformSummary::unknown(flags | Flags::NON_FINITE);
    }
    hits[first_hit..].sort_by(|a, b| a.time_ns.total_cmp(&b.time_ns));
    summary.charge_pe = charge_pe;
    summary.n_hits = (hits.len() - first_hit) as u32;
    summary.first_time_ns = hits.get(first_hit).map(|hit| hit.time_ns);
    summary
}
