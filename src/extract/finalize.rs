//! The last step of every backend: totals, flags and the check that all results are finite.

use crate::model::{Flags, Hit, WaveformSummary};

/// Finalizes the hits from `first_hit` on and the summary of a waveform: shifts times by `shift_ns`, merges flags of hits and waveform,
/// sums charges, sorts by time. If a result is not finite, the waveform has no hits and keeps only `flags`.
pub(crate) fn finalize(
    mut summary: WaveformSummary,
    flags: Flags,
    hits: &mut Vec<Hit>,
    first_hit: usize,
    shift_ns: f64,
) -> WaveformSummary {
    let mut charge_pe = 0.0;
    for hit in &mut hits[first_hit..] {
        hit.time_ns += shift_ns;
        hit.flags |= summary.flags & Flags::OF_WAVEFORM_AND_HITS;
        charge_pe += hit.charge_pe;
        summary.flags |= hit.flags;
    }
    // Samples so large that their sums overflow count as infinite.
    let numbers = [
        charge_pe,
        summary.baseline_adc,
        summary.baseline_sigma_adc,
        summary.noise_adc,
        summary.chi2_ndf.unwrap_or(0.0),
    ];
    let of_hits = hits[first_hit..]
        .iter()
        .flat_map(|hit| [hit.charge_pe, hit.charge_sigma_pe, hit.time_sigma_ns]);
    let has_times = hits[first_hit..].iter().all(|hit| hit.time_ns.is_finite());
    if !(has_times && numbers.into_iter().chain(of_hits).all(f32::is_finite)) {
        hits.truncate(first_hit);
        return WaveformSummary::unknown(flags | Flags::NON_FINITE);
    }
    hits[first_hit..].sort_by(|a, b| a.time_ns.total_cmp(&b.time_ns));
    summary.charge_pe = charge_pe;
    summary.n_hits = (hits.len() - first_hit) as u32;
    summary.first_time_ns = hits.get(first_hit).map(|hit| hit.time_ns);
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_not_finite_leaves_no_hits() {
        let hit = Hit {
            time_ns: 300.0,
            charge_pe: 1.0,
            charge_sigma_pe: 0.1,
            time_sigma_ns: 0.5,
            flags: Flags::PILE_UP,
        };
        let summary = WaveformSummary {
            chi2_ndf: Some(1.0),
            flags: Flags::FITTED,
            ..WaveformSummary::default()
        };
        let finalized = |hit: Hit, summary: WaveformSummary| {
            let mut hits = vec![Hit::default(), hit];
            let summary = finalize(summary, Flags::SHORT_WINDOW, &mut hits, 1, 10.0);
            (summary, hits.len() - 1)
        };
        let (whole, n_hits) = finalized(hit, summary);
        assert_eq!((whole.n_hits, n_hits, whole.chi2_ndf), (1, 1, Some(1.0)));
        let spoil_hit: [fn(&mut Hit, f32); 4] = [
            |hit, value| hit.time_ns = f64::from(value),
            |hit, value| hit.charge_pe = value,
            |hit, value| hit.charge_sigma_pe = value,
            |hit, value| hit.time_sigma_ns = value,
        ];
        let spoil_summary: [fn(&mut WaveformSummary, f32); 4] = [
            |summary, value| summary.baseline_adc = value,
            |summary, value| summary.baseline_sigma_adc = value,
            |summary, value| summary.noise_adc = value,
            |summary, value| summary.chi2_ndf = Some(value),
        ];
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in 0..8 {
                let (mut hit, mut summary) = (hit, summary);
                match index {
                    0..4 => spoil_hit[index](&mut hit, value),
                    _ => spoil_summary[index - 4](&mut summary, value),
                }
                let (spoiled, n_hits) = finalized(hit, summary);
                assert_eq!(n_hits, 0, "{index}: {value}");
                assert_eq!(spoiled.flags, Flags::SHORT_WINDOW | Flags::NON_FINITE);
                assert_eq!(spoiled.chi2_ndf, None);
            }
        }
    }
}
