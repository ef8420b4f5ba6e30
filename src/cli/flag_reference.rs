//! The meaning of each flag for a user: where it occurs, its cause, and what to do. The documentation and `nuwave flags` are made of
//! it.

use crate::model::Flags;

/// The meaning of a flag for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagDescription {
    /// The flag.
    pub flag: Flags,
    /// The tables in which it occurs: `hits`, `waveforms`, `events`, `calibration`.
    pub tables: &'static [&'static str],
    /// Why it is set.
    pub cause: &'static str,
    /// Advice to the user.
    pub advice: &'static str,
}

const HITS_AND_WAVEFORMS: &[&str] = &["hits", "waveforms"];
const WAVEFORMS: &[&str] = &["waveforms"];
const EVENTS: &[&str] = &["events"];
const CALIBRATION: &[&str] = &["calibration"];

const fn describe(
    flag: Flags,
    tables: &'static [&'static str],
    cause: &'static str,
    advice: &'static str,
) -> FlagDescription {
    FlagDescription {
        flag,
        tables,
        cause,
        advice,
    }
}

/// The descriptions of all flags, in the order of [`Flags::ALL`].
pub const FLAG_DESCRIPTIONS: [FlagDescription; Flags::ALL.len()] = [
    describe(
        Flags::SATURATED_HIGH,
        HITS_AND_WAVEFORMS,
        "At least two samples have the highest value that the resolution of the digitiser (`adc_bits`) allows, or the top of a positive pulse is flat, as an amplifier before the digitiser cuts it, or the waveform reaches a height at which many pulses of the channel are cut. For positive pulses the top of the pulse is cut.",
        "For positive pulses the charge is a lower limit: use a channel with lower gain, or leave the waveform out. The template fit is not tried. \
         For negative pulses the overshoot is cut, which matters less.",
    ),
    describe(
        Flags::SATURATED_LOW,
        HITS_AND_WAVEFORMS,
        "At least two samples are 0, the lowest value of the digitiser, or the top of a negative pulse is flat, as an amplifier before the digitiser cuts it, or the waveform reaches a height at which many pulses of the channel are cut. For negative pulses the top of the pulse is cut.",
        "As `saturated_high`, with the polarities exchanged.",
    ),
    describe(
        Flags::UNSTABLE_BASELINE,
        HITS_AND_WAVEFORMS,
        "Too few blocks of samples without light, or the baseline moves and is not known well enough: much light, a step, pick-up, the overshoot of earlier light.",
        "Do not trust the baseline, and charges that depend on it. If many waveforms of a channel have it, look at them with `nuwave inspect --plot`; \
         a longer window or an earlier trigger position gives the baseline more samples.",
    ),
    describe(
        Flags::PULSE_IN_BASELINE,
        WAVEFORMS,
        "A hit lies at the very beginning of the window (deconvolution only).",
        "The hit may be the tail of an earlier pulse: its time and charge are unreliable. Open the window earlier.",
    ),
    describe(
        Flags::TRUNCATED_AT_EDGE,
        HITS_AND_WAVEFORMS,
        "Part of the pulse is before the beginning or after the end of the window.",
        "The charge of this hit has a larger error; leave it out of charge spectra.",
    ),
    describe(
        Flags::NON_FINITE,
        WAVEFORMS,
        "A sample is NaN or infinite, or sums overflow. Nothing was reconstructed; charge and baseline are NaN.",
        "Repair or leave out the waveform: the input is damaged, or its samples are not ADC values.",
    ),
    describe(
        Flags::NO_CALIBRATION,
        HITS_AND_WAVEFORMS,
        "The calibration has no row for the channel, so its default row was used; without a default row nothing was reconstructed.",
        "Calibrate the channel, or check that the channel numbers of the input and of the calibration are the same numbering.",
    ),
    describe(
        Flags::PILE_UP,
        HITS_AND_WAVEFORMS,
        "Deconvolution: the hit is clearly wider than a single photoelectron. Template fit: one fitted pulse has more charge than a photoelectron may have.",
        "The charge is right, the number of photoelectrons is not resolved, and the time is later than that of the first of them. \
         `--method sparse` or `auto` resolves more.",
    ),
    describe(
        Flags::SHORT_WINDOW,
        WAVEFORMS,
        "The window has fewer samples than the main pulse of the template.",
        "Charges and times are unreliable. Record a longer window.",
    ),
    describe(
        Flags::FLAT,
        WAVEFORMS,
        "All samples have the same value: a dead channel, a channel that is switched off, or one that is saturated throughout.",
        "Check the channel. There are no hits.",
    ),
    describe(
        Flags::TEMPLATE_FALLBACK,
        CALIBRATION,
        "The channel had too few single photoelectrons; its template is that of its type, or the mean of all channels.",
        "Take more calibration data for the channel, or accept a gain that is not its own.",
    ),
    describe(
        Flags::SPECTRUM_FIT_FAILED,
        CALIBRATION,
        "The fit of the charge spectrum did not converge; gain and charge spread are a fallback.",
        "Look at the spectrum (`--plots-dir`): too much light, a wrong window, or noise that hides the single photoelectron.",
    ),
    describe(
        Flags::NOISE_UNKNOWN,
        CALIBRATION,
        "The channel had no waveform from which baseline and noise could be measured.",
        "Check whether the channel is in the calibration run at all.",
    ),
    describe(
        Flags::NOT_CONVERGED,
        EVENTS,
        "The fit of vertex, time and energy did not reach a maximum of the likelihood, or its curvature gives no uncertainties.",
        "Leave the event out, or use it as a rough value only.",
    ),
    describe(
        Flags::OUTSIDE_DETECTOR,
        EVENTS,
        "The vertex is at the edge of the scintillator, to which the fit is limited, or beyond it.",
        "Leave the event out of energy spectra. If many events have it, part of the PMTs may be missing, or the light may not be scintillation.",
    ),
    describe(
        Flags::TOO_FEW_HITS,
        EVENTS,
        "Too few hits above the dark noise; what could not be determined is NaN.",
        "Expected for dark noise and very low energies.",
    ),
    describe(
        Flags::SEVERAL_CLUSTERS,
        EVENTS,
        "Light came in several clusters in time, as from a decay or pile-up of events; only the first was reconstructed.",
        "Treat the later clusters separately if you need them: their hits are in the `hits` table.",
    ),
    describe(
        Flags::UNKNOWN_CHANNEL,
        EVENTS,
        "Some hits are of channels that the detector's geometry does not have; they were left out.",
        "Check that detector file and data use the same channel numbers.",
    ),
    describe(
        Flags::DUPLICATE_HITS,
        EVENTS,
        "Hits with the same channel and time, or hits of a waveform that the input has twice; one was used.",
        "Check the input for repeated data.",
    ),
    describe(
        Flags::HITS_OUTSIDE_WINDOW,
        EVENTS,
        "Hits before 0 or after the readout window of the detector; they were left out.",
        "Check `window_samples` of the detector file, and that times count from the beginning of the window.",
    ),
    describe(
        Flags::BAD_HITS,
        EVENTS,
        "Hits whose time or charge is not finite, not positive, or absurdly large; they were left out.",
        "Check the program that wrote the hits.",
    ),
    describe(
        Flags::NO_LIGHT_MAPS,
        EVENTS,
        "No light maps were given: the vertex is a charge centroid, the energy a rough value, and there are no uncertainties.",
        "Make light maps with `nuwave calibrate light` and pass them with `--light-maps`.",
    ),
    describe(
        Flags::REPEATED,
        HITS_AND_WAVEFORMS,
        "The input has another waveform of the same event, channel and start before this one.",
        "Leave these rows out of sums; events do so already.",
    ),
    describe(
        Flags::FITTED,
        WAVEFORMS,
        "Information: the hits are those of the template fit.",
        "Nothing; `chi2_ndf` states how well the fit describes the waveform.",
    ),
    describe(
        Flags::FIT_FAILED,
        WAVEFORMS,
        "The template fit did not converge, does not describe the waveform, or was not tried because the waveform is saturated. The hits are those of the deconvolution.",
        "The hits are usable with the accuracy of `--method deconvolution`. If a channel has it often, its template does not fit its pulses: calibrate it.",
    ),
    describe(
        Flags::NO_LIGHT,
        WAVEFORMS,
        "Information: a first check (method `auto`) found no light, and the other stages were left out.",
        "Nothing.",
    ),
    describe(
        Flags::BASELINE_FOLLOWED,
        HITS_AND_WAVEFORMS,
        "Information: the samples without light contradict one constant level (overshoot of an earlier pulse, drift, step, pick-up). A smooth curve through them was subtracted before the hits were found.",
        "Nothing for single waveforms. If many waveforms of a channel have it, look for pick-up or for a baseline that is not at rest before the window.",
    ),
    describe(
        Flags::GLITCH,
        HITS_AND_WAVEFORMS,
        "Samples that no pulse can make: a spike of one sample, a missing sample stored as 0, a flipped high bit. They were replaced by their neighbours.",
        "If many waveforms of a channel have it, check the digitiser and its readout.",
    ),
    describe(
        Flags::PADDED,
        HITS_AND_WAVEFORMS,
        "The window begins or ends with a run of one constant value that is not the baseline, as records of different lengths get when they are padded. The run was left out; the rest was reconstructed as a shorter window.",
        "Nothing, if records are padded on purpose; otherwise check the program that wrote the file.",
    ),
    describe(
        Flags::TEMPLATE_CUT,
        CALIBRATION,
        "The template has not returned to zero at its end: the window in which it was learnt is shorter than the pulse's tail. Where its end shows the decay, the tail was continued by an exponential.",
        "Learn the template in longer windows; the note of `calibrate spe` states the length.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_described_once_and_in_order() {
        for (description, (flag, name, _)) in FLAG_DESCRIPTIONS.iter().zip(Flags::ALL) {
            assert_eq!(description.flag, flag, "{name}");
            assert!(!description.tables.is_empty(), "{name}");
            assert!(description.cause.ends_with('.'), "{name}");
            assert!(description.advice.ends_with('.'), "{name}");
        }
    }
}
