//! The lowest and the highest value that a digitiser gives.

/// Distance below 0 from which a sample shows that the counts are signed. -1 stands for a missing sample in some files.
const SIGNED_BELOW: f32 = -1.0;

/// Returns the rails of a digitiser of `bits` bits with counts from 0.
#[must_use]
pub(crate) fn rails(bits: u32) -> (f32, f32) {
    (0.0, 2.0_f32.powi(bits.min(32).cast_signed()) - 1.0)
}

/// Returns the rails of a waveform whose lowest sample is `lowest`: counts below 0 are those of a digitiser of the same resolution with
/// signed counts.
#[must_use]
pub(crate) fn rails_of_waveform(rails: (f32, f32), lowest: f32) -> (f32, f32) {
    let is_unsigned = lowest >= SIGNED_BELOW;
    if is_unsigned || rails.0 != 0.0 {
        return rails;
    }
    let half = 0.5 * (rails.1 + 1.0);
    (-half, half - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_below_zero_are_signed() {
        let unsigned = rails(14);
        assert_eq!(unsigned, (0.0, 16_383.0));
        for lowest in [5000.0, 0.0, -1.0] {
            assert_eq!(rails_of_waveform(unsigned, lowest), unsigned);
        }
        assert_eq!(rails_of_waveform(unsigned, -3.0), (-8192.0, 8191.0));
        assert_eq!(rails_of_waveform(rails(16), -3.0), (-32_768.0, 32_767.0));
        assert_eq!(
            rails_of_waveform((-8192.0, 8191.0), -3.0),
            (-8192.0, 8191.0)
        );
        let none = (f32::NEG_INFINITY, f32::INFINITY);
        assert_eq!(rails_of_waveform(none, -3.0), none);
    }
}
