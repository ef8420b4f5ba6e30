//! What the user states about the data, held against the data: polarity, baseline, noise, length of the windows, channels.

use serde::{Deserialize, Serialize};

use super::detector_context::DetectorContext;
use super::duplicates::FallBack;
use super::plan::PlannedInput;
use super::record::UnitReport;
use crate::detector::Detector;
use crate::model::{Batch, Polarity, SamplesRef};
use crate::text::{counted, thousands};

/// Waveforms of a unit whose excursions are looked at.
const SAMPLED_WAVEFORMS: u64 = 2048;
/// Samples of a waveform that its level and noise are taken from.
const LEVEL_SAMPLES: usize = 64;
/// An excursion from the level is large beyond this many standard deviations of a sample.
const LARGE_SIGMA: f32 = 10.0;
/// Minimum noise of counts, from rounding.
const MIN_NOISE_ADC: f32 = 0.29;
/// A baseline is far from the nominal one beyond this share of the digitiser's range.
const BASELINE_SHARE: f64 = 0.03;
/// Noise is different from the calibration's beyond this factor.
const NOISE_FACTOR: f64 = 2.0;
/// Windows have another length beyond this share.
const LENGTH_SHARE: f64 = 0.01;
/// Share of waveforms of unknown channels from which on there is a warning.
const UNKNOWN_SHARE: f64 = 0.1;
/// Steps of a 64-bit float at the start of a window from which on there is a warning.
const START_STEP_NS: f64 = 0.1;

/// What detector and calibration say about the waveforms of an input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Name of the detector.
    pub detector: Option<String>,
    /// Nominal baseline of the detector.
    pub baseline_adc: Option<f64>,
    /// Range of the detector's digitiser.
    pub full_scale_adc: Option<f64>,
    /// Samples per waveform of the detector.
    pub window_samples: Option<u64>,
    /// True if the calibration has channels, not only a default for all.
    pub has_channels: bool,
    /// Mean noise of the calibrated channels.
    pub noise_adc: Option<f64>,
}

impl Expected {
    /// Returns what the detector and the calibration of a pass say.
    pub(super) fn new(context: &DetectorContext) -> Self {
        let detector = context.detector.as_ref();
        let readout = detector.map(|detector| &detector.readout);
        let calibration = &context.calibration;
        let channels = calibration.channels();
        let rows = channels.iter().map(|&(_, row)| row);
        let rows = rows.chain(calibration.default_row().filter(|_| channels.is_empty()));
        let noises: Vec<f64> = rows
            .filter_map(|row| calibration.rows().get(row))
            .map(|row| f64::from(row.noise_adc))
            .filter(|&noise_adc| noise_adc > 0.0)
            .collect();
        Self {
            detector: detector.map(|detector| detector.name.clone()),
            baseline_adc: readout.map(|readout| readout.baseline_adc),
            full_scale_adc: readout.map(|readout| f64::from(readout.full_scale_adc())),
            window_samples: readout.map(|readout| readout.window_samples as u64),
            has_channels: !channels.is_empty(),
            noise_adc: (!noises.is_empty())
                .then(|| noises.iter().sum::<f64>() / noises.len() as f64),
        }
    }
}

/// What the waveforms of a unit show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Waveforms whose excursions were looked at, the first ones of the unit.
    pub sampled: u64,
    /// Those of them whose largest excursion is a pulse of the stated polarity.
    pub pulses: u64,
    /// Those of them whose largest excursion is a pulse of the other polarity.
    pub opposite_pulses: u64,
    /// Waveforms of channels that the detector's geometry does not have.
    pub unknown_channels: u64,
    /// Largest absolute start of a window.
    pub latest_start_ns: f64,
}

impl Observed {
    /// Adds the waveforms of a batch.
    pub(super) fn add(&mut self, batch: &Batch, polarity: Polarity, detector: Option<&Detector>) {
        if let Some(sensors) = detector.and_then(Detector::sensors) {
            let channels = batch.channel_id().iter();
            let unknown = channels.filter(|&&channel| sensors.index_of(channel).is_none());
            self.unknown_channels += unknown.count() as u64;
        }
        for start_ns in batch.start_ns() {
            self.latest_start_ns = self.latest_start_ns.max(start_ns.abs());
        }
        let left = SAMPLED_WAVEFORMS.saturating_sub(self.sampled) as usize;
        for waveform in batch.iter().take(left) {
            self.sampled += 1;
            match pulse_of(waveform.samples) {
                Some(found) if found == polarity => self.pulses += 1,
                Some(_) => self.opposite_pulses += 1,
                None => {}
            }
        }
    }

    /// Adds what another unit shows.
    fn join(&mut self, other: &Self) {
        self.sampled += other.sampled;
        self.pulses += other.pulses;
        self.opposite_pulses += other.opposite_pulses;
        self.unknown_channels += other.unknown_channels;
        self.latest_start_ns = self.latest_start_ns.max(other.latest_start_ns);
    }
}

/// Returns the direction of the largest excursion if it is a pulse: large, longer than a sample, within the window, twice as large as that of the
/// other direction, and not a run of one value.
fn pulse_of(samples: SamplesRef<'_>) -> Option<Polarity> {
    let values = samples.to_f32();
    let step = values.len().div_ceil(LEVEL_SAMPLES).max(1);
    let mut some: Vec<f32> = values.iter().step_by(step).copied().collect();
    let level = median(&mut some);
    for value in &mut some {
        *value = (*value - level).abs();
    }
    let least = match samples {
        SamplesRef::U16(_) => MIN_NOISE_ADC,
        SamplesRef::F32(_) => f32::MIN_POSITIVE,
    };
    let noise = (1.4826 * median(&mut some)).max(least);
    let high = values.iter().copied().fold(f32::MIN, f32::max) - level;
    let low = level - values.iter().copied().fold(f32::MAX, f32::min);
    let (polarity, extent) = if high > low {
        (Polarity::Positive, high)
    } else {
        (Polarity::Negative, low)
    };
    if !extent.is_finite() || extent <= LARGE_SIGMA * noise || extent < 2.0 * high.min(low) {
        return None;
    }
    let height = |value: f32| (value - level) * polarity.sign();
    let n_beyond = |share: f32| {
        let beyond = values
            .iter()
            .filter(|&&value| height(value) >= share * extent);
        beyond.count()
    };
    let edge = |value: Option<&f32>| value.is_some_and(|&value| height(value) > 0.5 * extent);
    let is_pulse = n_beyond(0.5) >= 2 && n_beyond(1.0) <= 2;
    (is_pulse && !edge(values.first()) && !edge(values.last())).then_some(polarity)
}

fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Returns the contradictions between what is stated about `input` and what its `units` show, one text each.
pub(super) fn contradictions(input: &PlannedInput, units: &[&UnitReport]) -> Vec<String> {
    let mut observed = Observed::default();
    let (mut levels, mut waveforms, mut samples) = ((0, 0.0, 0.0), 0_u64, 0_u64);
    let (mut uncalibrated, mut repeated) = (0, 0);
    for unit in units {
        observed.join(&unit.observed.unwrap_or_default());
        levels.0 += unit.levels.0;
        levels.1 += unit.levels.1;
        levels.2 += unit.levels.2;
        waveforms += unit.waveforms;
        samples += unit.samples;
        let flagged = |name: &str| unit.flags.get(name).copied().unwrap_or(0);
        uncalibrated += flagged("no_calibration");
        repeated += flagged("repeated");
    }
    let expected = input.expected.clone().unwrap_or_default();
    let detector = expected.detector.as_deref().unwrap_or_default();
    let percent = |part: u64| 100.0 * part as f64 / waveforms.max(1) as f64;
    let is_many = |part: u64| part as f64 >= UNKNOWN_SHARE * waveforms as f64 && part > 0;
    let mut found = Vec::new();
    let fall_back = units.iter().filter_map(|unit| unit.fall_back);
    found.extend(
        fall_back
            .filter(|place| place.repeats || place.reappears)
            .map(|place| second_run(place, repeated))
            .next(),
    );
    if let Some(polarity) = input.polarity
        && observed.opposite_pulses >= 3
        && observed.opposite_pulses > 4 * observed.pulses
    {
        let (stated, other) = match polarity {
            Polarity::Negative => ("negative", "positive"),
            Polarity::Positive => ("positive", "negative"),
        };
        found.push(format!(
            "pulses are taken as {stated}, but of the {} looked at, {} a {other} pulse and {} a {stated} one: is the polarity `{other}`?",
            counted(observed.sampled, "waveform"),
            has(observed.opposite_pulses),
            has(observed.pulses),
        ));
    }
    found.extend(level_contradictions(&expected, levels));
    if let Some(nominal) = expected.window_samples
        && waveforms > 0
    {
        let mean = samples as f64 / waveforms as f64;
        if (mean - nominal as f64).abs() > LENGTH_SHARE * nominal as f64 {
            found.push(format!(
                "windows have {mean:.0} samples on average, those of the detector `{detector}` have {nominal}: events and dark rates assume the detector's window"
            ));
        }
    }
    if expected.has_channels && is_many(uncalibrated) {
        found.push(format!(
            "{} ({:.0} %) are of channels that the calibration does not have: flagged `no_calibration`",
            of_all(uncalibrated, waveforms),
            percent(uncalibrated)
        ));
    }
    if is_many(observed.unknown_channels) {
        found.push(format!(
            "{} ({:.0} %) are of channels that the geometry of the detector `{detector}` does not have: events leave their hits out",
            of_all(observed.unknown_channels, waveforms),
            percent(observed.unknown_channels)
        ));
    }
    let of_events = units.iter().filter_map(|unit| unit.events.as_ref());
    let events: u64 = of_events.clone().map(|events| events.events).sum();
    let unknown = of_events
        .filter_map(|events| events.flags.get("unknown_channel"))
        .sum::<u64>();
    // Of waveforms, the channels were counted above.
    if waveforms == 0 && 2 * unknown >= events && unknown > 0 {
        found.push(format!(
            "{} of {} have hits of channels that the geometry of the detector does not have: these hits are left out",
            thousands(unknown),
            counted(events, "event")
        ));
    }
    let step_ns = observed.latest_start_ns * f64::EPSILON;
    if step_ns > START_STEP_NS {
        found.push(format!(
            "windows begin at up to {:.3e} ns, where 64-bit floats have steps of {step_ns:.1} ns: subtract the start of the run from `start_ns`",
            observed.latest_start_ns
        ));
    }
    found
}

/// Returns the contradictions of baseline and noise, of which `levels` has the number and the sums.
fn level_contradictions(expected: &Expected, levels: (u64, f64, f64)) -> Vec<String> {
    let mut found = Vec::new();
    if levels.0 == 0 {
        return found;
    }
    let baseline_adc = levels.1 / levels.0 as f64;
    let noise_adc = levels.2 / levels.0 as f64;
    if let (Some(nominal_adc), Some(range_adc)) = (expected.baseline_adc, expected.full_scale_adc)
        && (baseline_adc - nominal_adc).abs() > BASELINE_SHARE * range_adc
    {
        let detector = expected.detector.as_deref().unwrap_or_default();
        found.push(format!(
            "the mean baseline is {baseline_adc:.0} ADC counts, that of the detector `{detector}` is nominally {nominal_adc:.0}: do the data come from it?"
        ));
    }
    if let Some(calibrated_adc) = expected.noise_adc {
        let ratio = noise_adc / calibrated_adc;
        if !(1.0 / NOISE_FACTOR..=NOISE_FACTOR).contains(&ratio) {
            found.push(format!(
                "the noise is {noise_adc:.3} ADC counts per sample, {ratio:.2} times the {calibrated_adc:.3} of the calibration: do the data and the \
                 calibration belong together?"
            ));
        }
    }
    found
}

/// Returns the warning of an input whose event numbers begin again.
fn second_run(place: FallBack, repeated: u64) -> String {
    let FallBack {
        waveform,
        event_id,
        after,
        repeats,
        ..
    } = place;
    let follows = if repeats {
        format!(
            "waveforms that are a second time in the input: {}, flagged `repeated`; events use the first ones",
            thousands(repeated)
        )
    } else {
        "events and channels that were there before follow with other window starts, in the same events".to_owned()
    };
    format!(
        "the event numbers begin again at waveform {waveform} (event {event_id} after event {after}), {follows}. If these are two runs, give each as an \
         input of its own"
    )
}

fn of_all(part: u64, all: u64) -> String {
    format!("{} of {}", thousands(part), counted(all, "waveform"))
}

fn has(count: u64) -> String {
    let verb = if count == 1 { "has" } else { "have" };
    format!("{} {verb}", thousands(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(sign: f32, seed: usize) -> Vec<u16> {
        let noise = |k: usize| ((k * 7919 + seed * 104_729) % 13) as f32 - 6.0;
        let shape = |k: usize| {
            if (200..240).contains(&k) {
                30.0 - (k as f32 - 210.0).abs()
            } else {
                0.0
            }
        };
        (0..400)
            .map(|k| (2000.0 + 0.4 * noise(k) + sign * 8.0 * shape(k)) as u16)
            .collect()
    }

    #[test]
    fn pulses_are_told_from_glitches_padding_and_slopes() {
        let of = |samples: &[u16]| pulse_of(SamplesRef::U16(samples));
        assert_eq!(of(&pulse(1.0, 1)), Some(Polarity::Positive));
        assert_eq!(of(&pulse(-1.0, 2)), Some(Polarity::Negative));
        assert_eq!(of(&pulse(0.0, 3)), None);
        let mut glitch = pulse(0.0, 4);
        glitch[77] = 0;
        assert_eq!(of(&glitch), None);
        let mut padded = pulse(0.0, 5);
        padded[350..].fill(0);
        assert_eq!(of(&padded), None);
        let slope: Vec<u16> = (0..400)
            .map(|k| 2000 + 400_u16.saturating_sub(4 * k))
            .collect();
        assert_eq!(of(&slope), None);
    }
}
