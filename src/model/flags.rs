//! The bit mask of flags in all tables. Append only: a bit never changes its meaning.

use std::ops::{BitAnd, BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};

/// A set of flags, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Samples at the digitiser's highest value, or a flat top of positive pulses.
    pub const SATURATED_HIGH: Self = Self(1 << 0);
    /// Samples at the digitiser's lowest value, or a flat top of negative pulses.
    pub const SATURATED_LOW: Self = Self(1 << 1);
    /// The baseline is based on too few samples without light, or drifts within the window.
    pub const UNSTABLE_BASELINE: Self = Self(1 << 2);
    /// Light at the very beginning of the window, where the baseline is normally read.
    pub const PULSE_IN_BASELINE: Self = Self(1 << 3);
    /// A pulse is cut by the beginning or the end of the window.
    pub const TRUNCATED_AT_EDGE: Self = Self(1 << 4);
    /// Samples that are NaN, infinite, or so large that sums overflow; nothing was reconstructed.
    pub const NON_FINITE: Self = Self(1 << 5);
    /// The channel has no calibration of its own; a default template was used.
    pub const NO_CALIBRATION: Self = Self(1 << 6);
    /// Overlapping photoelectrons that could not be resolved (a hit much wider than a single photoelectron).
    pub const PILE_UP: Self = Self(1 << 7);
    /// The window is shorter than the template.
    pub const SHORT_WINDOW: Self = Self(1 << 8);
    /// Every sample has the same value: a dead or fully saturated channel.
    pub const FLAT: Self = Self(1 << 9);
    /// Calibration: too few single photoelectrons; the template is that of the channel's type or the global one.
    pub const TEMPLATE_FALLBACK: Self = Self(1 << 10);
    /// Calibration: the charge spectrum fit failed; gain and width come from the fallback.
    pub const SPECTRUM_FIT_FAILED: Self = Self(1 << 11);
    /// Calibration: no baseline or noise could be measured on this channel.
    pub const NOISE_UNKNOWN: Self = Self(1 << 12);
    /// Event: the fit did not converge; the values are the last ones it had.
    pub const NOT_CONVERGED: Self = Self(1 << 13);
    /// Event: the vertex is at the edge of the scintillator, to which the fit is limited, or beyond it.
    pub const OUTSIDE_DETECTOR: Self = Self(1 << 14);
    /// Event: too few hits above the dark noise for a fit; quantities that could not be determined are NaN.
    pub const TOO_FEW_HITS: Self = Self(1 << 15);
    /// Event: light came in several clusters in time; the first was reconstructed.
    pub const SEVERAL_CLUSTERS: Self = Self(1 << 16);
    /// Event: hits of channels that the geometry does not have; they were left out.
    pub const UNKNOWN_CHANNEL: Self = Self(1 << 17);
    /// Event: hits with the same channel and time; one of them was used.
    pub const DUPLICATE_HITS: Self = Self(1 << 18);
    /// Event: hits outside the readout window; they were left out.
    pub const HITS_OUTSIDE_WINDOW: Self = Self(1 << 19);
    /// Event: hits whose time or charge is not a number; they were left out.
    pub const BAD_HITS: Self = Self(1 << 20);
    /// Event: reconstructed without light maps; energy and vertex are rough.
    pub const NO_LIGHT_MAPS: Self = Self(1 << 21);

    /// The input has another waveform of this event, channel and begin before this one; events leave it out.
    pub const REPEATED: Self = Self(1 << 22);

    /// The hits are those of a fit of templates to the whole waveform.
    pub const FITTED: Self = Self(1 << 23);
    /// The fit did not converge, or does not describe the waveform; the hits are those of the deconvolution.
    pub const FIT_FAILED: Self = Self(1 << 24);
    /// An empty waveform: a first check found no light, and nothing else was done.
    pub const NO_LIGHT: Self = Self(1 << 25);
    /// The baseline moves within the window; a curve through the samples without light was subtracted.
    pub const BASELINE_FOLLOWED: Self = Self(1 << 26);
    /// Samples that no pulse can make: single spikes, missing samples, flipped bits. They were replaced.
    pub const GLITCH: Self = Self(1 << 27);
    /// A run of one constant value from or to the window's edge: padding, no samples. It was left out.
    pub const PADDED: Self = Self(1 << 28);
    /// Calibration: the template ends before its tail does.
    pub const TEMPLATE_CUT: Self = Self(1 << 29);

    /// A rail of the digitizer, or of an amplifier before it, cuts pulses or their overshoot.
    pub const SATURATED: Self = Self(Self::SATURATED_HIGH.0 | Self::SATURATED_LOW.0);
    /// Flags of a waveform that its hits get too: what is wrong with all of its charges and times.
    pub const OF_WAVEFORM_AND_HITS: Self = Self(
        Self::SATURATED.0
            | Self::NO_CALIBRATION.0
            | Self::UNSTABLE_BASELINE.0
            | Self::BASELINE_FOLLOWED.0
            | Self::GLITCH.0
            | Self::PADDED.0,
    );

    /// Flags that say how a waveform was reconstructed. All others tell of a problem, or of a limited result.
    pub const INFORMATION: Self =
        Self(Self::FITTED.0 | Self::NO_LIGHT.0 | Self::BASELINE_FOLLOWED.0);

    /// All flags with their names in reports and their meanings, in the order of the bits.
    pub const ALL: [(Self, &'static str, &'static str); 30] = [
        (
            Self::SATURATED_HIGH,
            "saturated_high",
            "samples at the highest value, or a pulse that is cut",
        ),
        (
            Self::SATURATED_LOW,
            "saturated_low",
            "samples at the lowest value, or a pulse that is cut",
        ),
        (
            Self::UNSTABLE_BASELINE,
            "unstable_baseline",
            "too few quiet samples, or the baseline moves",
        ),
        (
            Self::PULSE_IN_BASELINE,
            "pulse_in_baseline",
            "light at the very beginning of the window",
        ),
        (
            Self::TRUNCATED_AT_EDGE,
            "truncated_at_edge",
            "a pulse is cut by the window's edge",
        ),
        (
            Self::NON_FINITE,
            "non_finite",
            "NaN or infinite samples; nothing was reconstructed",
        ),
        (
            Self::NO_CALIBRATION,
            "no_calibration",
            "no calibration of its own; a default template was used",
        ),
        (
            Self::PILE_UP,
            "pile_up",
            "overlapping photoelectrons that could not be told apart",
        ),
        (
            Self::SHORT_WINDOW,
            "short_window",
            "the window is shorter than the template",
        ),
        (Self::FLAT, "flat", "every sample has the same value"),
        (
            Self::TEMPLATE_FALLBACK,
            "template_fallback",
            "too few single photoelectrons; the template is a fallback",
        ),
        (
            Self::SPECTRUM_FIT_FAILED,
            "spectrum_fit_failed",
            "the charge spectrum fit failed; gain and width are a fallback",
        ),
        (
            Self::NOISE_UNKNOWN,
            "noise_unknown",
            "baseline and noise could not be measured",
        ),
        (
            Self::NOT_CONVERGED,
            "not_converged",
            "the fit of the event did not converge",
        ),
        (
            Self::OUTSIDE_DETECTOR,
            "outside_detector",
            "the vertex is at the edge of the scintillator or beyond",
        ),
        (
            Self::TOO_FEW_HITS,
            "too_few_hits",
            "too few hits above the dark noise for a fit",
        ),
        (
            Self::SEVERAL_CLUSTERS,
            "several_clusters",
            "several clusters of light in time; the first was reconstructed",
        ),
        (
            Self::UNKNOWN_CHANNEL,
            "unknown_channel",
            "hits of channels that the geometry does not have were left out",
        ),
        (
            Self::DUPLICATE_HITS,
            "duplicate_hits",
            "the same hit was there more than once; one was used",
        ),
        (
            Self::HITS_OUTSIDE_WINDOW,
            "hits_outside_window",
            "hits outside the readout window were left out",
        ),
        (
            Self::BAD_HITS,
            "bad_hits",
            "hits whose time or charge is not a number were left out",
        ),
        (
            Self::NO_LIGHT_MAPS,
            "no_light_maps",
            "reconstructed without light maps; energy and vertex are rough",
        ),
        (
            Self::REPEATED,
            "repeated",
            "the input has this waveform twice; events use the first",
        ),
        (
            Self::FITTED,
            "fitted",
            "the hits are those of a fit of templates to the whole waveform",
        ),
        (
            Self::FIT_FAILED,
            "fit_failed",
            "no fit describes the waveform; the hits are those of the deconvolution",
        ),
        (
            Self::NO_LIGHT,
            "no_light",
            "a first look found no light; nothing else was done",
        ),
        (
            Self::BASELINE_FOLLOWED,
            "baseline_followed",
            "the baseline moves; a curve was subtracted",
        ),
        (
            Self::GLITCH,
            "glitch",
            "samples that no pulse can make; they were replaced",
        ),
        (
            Self::PADDED,
            "padded",
            "a constant run at the window's edge; it was left out",
        ),
        (
            Self::TEMPLATE_CUT,
            "template_cut",
            "the template ends before its tail does",
        ),
    ];

    /// Returns true if all flags of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if any flag of `other` is set.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the flag of that name with its meaning.
    #[must_use]
    pub fn by_name(name: &str) -> Option<(Self, &'static str)> {
        let found = Self::ALL.into_iter().find(|(_, other, _)| *other == name);
        found.map(|(flag, _, meaning)| (flag, meaning))
    }

    /// Returns true for the name of a flag of [`INFORMATION`](Self::INFORMATION).
    #[must_use]
    pub fn is_information(name: &str) -> bool {
        Self::by_name(name).is_some_and(|(flag, _)| Self::INFORMATION.contains(flag))
    }

    /// Returns the names of the flags that are set, in the order of the bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .filter(move |(flag, _, _)| self.contains(*flag))
            .map(|(_, name, _)| name)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_bit_of_its_own_in_order() {
        for (place, (flag, _, _)) in Flags::ALL.into_iter().enumerate() {
            assert_eq!(flag.0, 1 << place);
        }
        assert_eq!(
            (Flags::FLAT | Flags::NON_FINITE)
                .names()
                .collect::<Vec<_>>(),
            ["non_finite", "flat"]
        );
        assert!(Flags::is_information("fitted") && Flags::is_information("no_light"));
        assert!(!Flags::is_information("flat") && !Flags::is_information("unknown"));
    }
}
