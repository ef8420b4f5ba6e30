//! Changes to a detector for a study, without a detector file.

use crate::detector::{Detector, Undershoot};
use crate::error::Result;
use crate::model::Polarity;

/// Changes to all PMT types of a detector; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// White noise as a share of the single-photoelectron peak; coloured noise is dropped.
    pub noise_pe: Option<f64>,
    /// Amplitude of all undershoots together; each keeps its share and time constant. A pulse without any gets
    /// one of 60 ns. 0 drops them.
    pub undershoot: Option<f64>,
    /// Spread of a Gaussian single-photoelectron charge; the exponential tail is dropped.
    pub charge_sigma_pe: Option<f64>,
    /// Transit-time spread.
    pub transit_time_sigma_ns: Option<f64>,
    /// Rate of dark photoelectrons.
    pub dark_rate_hz: Option<f64>,
    /// Peak of the mean single photoelectron; noise given in ADC counts stays as it is.
    pub spe_peak_adc: Option<f64>,
    /// Sampling interval; the window keeps its number of samples and the trigger its time.
    pub sampling_ns: Option<f64>,
    /// Samples per waveform.
    pub window_samples: Option<usize>,
    /// Time of the first light in the window.
    pub trigger_ns: Option<f64>,
    /// Polarity of the pulses; the baseline is mirrored, so that the range for pulses stays the same.
    pub polarity: Option<Polarity>,
    /// Sixteen bits with the baseline an eighth of the scale from the end that pulses do not go to.
    pub no_saturation: bool,
}

/// Time constant of an undershoot given to a pulse that has none.
const UNDERSHOOT_TAU_NS: f64 = 60.0;

impl Overrides {
    /// Returns the changed detector.
    ///
    /// # Errors
    /// If a value is out of the range that is allowed in detector files.
    pub fn apply(&self, mut detector: Detector) -> Result<Detector> {
        for pmt in &mut detector.pmt_types {
            set(&mut pmt.spe_peak_adc, self.spe_peak_adc);
            set(&mut pmt.transit_time_sigma_ns, self.transit_time_sigma_ns);
            set(&mut pmt.dark_rate_hz, self.dark_rate_hz);
            if let Some(noise_pe) = self.noise_pe {
                pmt.noise_adc = noise_pe * pmt.spe_peak_adc;
                pmt.coloured_noise = None;
            }
            if let Some(sigma_pe) = self.charge_sigma_pe {
                pmt.charge_sigma_pe = sigma_pe;
                pmt.tail_fraction = 0.0;
                pmt.tail_decay_pe = 0.0;
            }
            if let Some(amplitude) = self.undershoot {
                scale_undershoots(pmt.pulse.undershoots_mut(), amplitude);
            }
        }
        let readout = &mut detector.readout;
        set(&mut readout.sampling_ns, self.sampling_ns);
        set(&mut readout.trigger_ns, self.trigger_ns);
        if let Some(samples) = self.window_samples {
            readout.window_samples = samples;
        }
        if let Some(polarity) = self.polarity
            && polarity != readout.polarity
        {
            readout.polarity = polarity;
            readout.baseline_adc = f64::from(readout.full_scale_adc()) - readout.baseline_adc;
        }
        if self.no_saturation {
            readout.adc_bits = 16;
            readout.baseline_adc = match readout.polarity {
                Polarity::Negative => 57_344.0,
                Polarity::Positive => 8192.0,
            };
        }
        detector.validate("the detector with its changed values")?;
        Ok(detector)
    }
}

fn set(value: &mut f64, new: Option<f64>) {
    *value = new.unwrap_or(*value);
}

fn scale_undershoots(undershoots: &mut Vec<Undershoot>, amplitude: f64) {
    let total: f64 = undershoots.iter().map(|tail| tail.amplitude).sum();
    if amplitude == 0.0 {
        undershoots.clear();
    } else if total == 0.0 {
        *undershoots = vec![Undershoot {
            amplitude,
            tau_ns: UNDERSHOOT_TAU_NS,
        }];
    } else {
        for tail in undershoots {
            tail.amplitude *= amplitude / total;
        }
    }
}
