//! Checks of the samples of a waveform against its channel: padding, glitches, and pulses that are cut below the rails.

use super::extractor::Extractor;
use super::load_samples::load_samples;
use super::padding::{self, PaddingLimits};
use super::workspace::Workspace;
use super::{baseline, flat_top, glitches};
use crate::model::rails::rails_of_waveform;
use crate::model::{Flags, Waveform};

impl Extractor {
    /// Loads the samples of a waveform on calibration row `row` without padding, and returns the flags.
    pub(super) fn load(
        &self,
        waveform: Waveform<'_>,
        row: Option<usize>,
        work: &mut Workspace,
    ) -> Flags {
        let samples = waveform.samples;
        let rails = self.rails();
        work.first_sample = 0;
        // Loading first brings the samples into the cache in order; padding is rare.
        let flags = load_samples(samples, rails, &mut work.loaded);
        let Some(row) = row else { return flags };
        let rails = rails_of_waveform(rails, work.loaded.lowest);
        let channel = self.channel(row);
        let limits = PaddingLimits {
            noise_adc: self.calibrated_noise_adc(channel),
            rails,
            max_saturated: if channel.limits.is_steep {
                2 * channel.main_pulse_samples
            } else {
                0
            },
        };
        let Some(edges) = padding::constant_edges(samples, limits) else {
            return flags;
        };
        let Workspace { loaded, sorted, .. } = work;
        let window = padding::window_without_padding(samples, edges, limits, loaded, sorted);
        let padded = if window.len() < samples.len() {
            Flags::PADDED
        } else {
            Flags::NONE
        };
        work.first_sample = window.start;
        padded | load_samples(samples.range(window), rails, loaded)
    }

    /// Removes samples that no pulse can make, and finds pulses that are cut below the rails. Returns the flags.
    pub(super) fn check_samples(&self, row: usize, flags: Flags, work: &mut Workspace) -> Flags {
        let channel = self.channel(row);
        let loaded = &mut work.loaded;
        let noise_adc = self.calibrated_noise_adc(channel);
        if loaded.highest - loaded.lowest < glitches::MIN_GLITCH_RANGE * noise_adc {
            return flags;
        }
        let sign = self.readout().polarity.sign();
        let mut flags = flags;
        if glitches::remove_glitches(loaded, &channel.limits, noise_adc, sign) > 0 {
            flags = (flags & Flags::PADDED) | loaded.measure(self.rails()) | Flags::GLITCH;
        }
        let range_adc = loaded.highest - loaded.lowest;
        if flags.intersects(Flags::SATURATED) || range_adc < flat_top::MIN_FLAT_TOP * noise_adc {
            return flags;
        }
        if !flat_top::may_have_flat_top(loaded, &channel.limits, noise_adc, sign) {
            return flags;
        }
        // The quietest block may lie in a top that is cut: the baseline on which most blocks agree is better here.
        let level_adc = baseline::estimate_baseline(loaded, &mut work.sorted).level_adc;
        let template_adc = &self.calibration().rows()[row].template_adc;
        if flat_top::has_flat_top(
            loaded,
            template_adc,
            &channel.limits,
            level_adc,
            noise_adc,
            sign,
        ) {
            flags |= if sign > 0.0 {
                Flags::SATURATED_HIGH
            } else {
                Flags::SATURATED_LOW
            };
        }
        flags
    }
}
