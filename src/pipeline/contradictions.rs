//! Warnings where the data contradict what the user, the detector or the calibration says about them.

use std::collections::BTreeMap;

use super::cut_pulses::CutPulses;
use super::duplicates::FallBack;
use super::facts::{Expected, Observed};
use super::plan::PlannedInput;
use super::record::UnitReport;
use crate::model::Polarity;
use crate::text::{counted, thousands};

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
/// The rest of the warning about waveforms with glitches.
const GLITCHES: &str = "have samples that no pulse can make, which were replaced (`glitch`): is a time stamp or a counter in front of the samples read as one \
                        of them, or is the polarity or the template another one?";
/// Channels that a warning names.
const LISTED_CHANNELS: usize = 5;

/// Returns the contradictions between what is stated about `input` and what its `units` show, one text each.
pub(super) fn contradictions(input: &PlannedInput, units: &[&UnitReport]) -> Vec<String> {
    let mut observed = Observed::default();
    let (mut levels, mut waveforms, mut samples) = ((0, 0.0, 0.0), 0_u64, 0_u64);
    let (mut uncalibrated, mut repeated, mut glitches) = (0, 0, 0);
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
        glitches += flagged("glitch");
    }
    let expected = input.expected.clone().unwrap_or_default();
    let detector = expected.detector.as_deref().unwrap_or_default();
    let percent = |part: u64| 100.0 * part as f64 / waveforms.max(1) as f64;
    let is_many = |part: u64| part as f64 >= UNKNOWN_SHARE * waveforms as f64 && part > 0;
    let mut found = Vec::new();
    let second_run = units
        .iter()
        .filter_map(|unit| unit.fall_back)
        .find(|place| place.repeats || place.reappears)
        .map(|place| second_run(place, repeated));
    if repeated > 0 && second_run.is_none() {
        found.push(format!(
            "{} ({:.0} %) have event, channel and window start of an earlier one: flagged `repeated`, and events use the first ones. Is the event column \
             the right one, and does its number count?",
            of_all(repeated, waveforms),
            percent(repeated)
        ));
    }
    found.extend(second_run);
    if let Some(polarity) = input.polarity
        && observed.opposite_pulses >= 3
        && observed.opposite_pulses > 4 * observed.pulses
    {
        let other = match polarity {
            Polarity::Negative => Polarity::Positive,
            Polarity::Positive => Polarity::Negative,
        };
        let (stated, other) = (polarity.name(), other.name());
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
    if is_many(glitches) && !is_noisy(&expected, levels) {
        found.push(format!(
            "{} ({:.0} %) {GLITCHES}",
            of_all(glitches, waveforms),
            percent(glitches)
        ));
    }
    found.extend(imprecise_start(observed.latest_start_ns));
    found.extend(cut_pulses(units));
    found
}

/// Returns what is wrong with the starts of windows up to `latest_ns`, if they are too large for the precision of 64-bit floats.
pub(crate) fn imprecise_start(latest_ns: f64) -> Option<String> {
    let step_ns = latest_ns.abs() * f64::EPSILON;
    (step_ns > START_STEP_NS).then(|| {
        format!(
            "windows begin at up to {latest_ns:.3e} ns, where 64-bit floats have steps of {step_ns:.1} ns: subtract the start of the run from `start_ns`"
        )
    })
}

/// Returns the warning about channels whose pulses are cut.
fn cut_pulses(units: &[&UnitReport]) -> Option<String> {
    let mut channels: BTreeMap<u32, CutPulses> = BTreeMap::new();
    for cut in units.iter().flat_map(|unit| &unit.cut_pulses) {
        let all = channels.entry(cut.channel_id);
        let all = all.or_insert(CutPulses { flagged: 0, ..*cut });
        all.flagged += cut.flagged;
    }
    channels.retain(|_, cut| cut.flagged > 0);
    let flagged = channels.values().map(|cut| cut.flagged).sum::<u64>();
    let mut listed: Vec<String> = channels
        .values()
        .take(LISTED_CHANNELS)
        .map(|cut| format!("channel {} at {:.0}", cut.channel_id, cut.height_adc))
        .collect();
    if channels.len() > LISTED_CHANNELS {
        listed.push(format!(
            "{} more in `report.json`",
            channels.len() - LISTED_CHANNELS
        ));
    }
    (!listed.is_empty()).then(|| {
        format!(
            "pulses are cut below the digitiser's range: many waveforms of a channel end at one height ({} ADC counts above the baseline). The charge of \
             {} that reach it is too small; they are flagged `saturated_low` or `saturated_high`",
            listed.join(", "),
            counted(flagged, "waveform")
        )
    })
}

/// True if the waveforms are noisier than the calibration says. Noise then looks like glitches, and the noise is warned of.
fn is_noisy(expected: &Expected, levels: (u64, f64, f64)) -> bool {
    let limit = |noise_adc: f64| NOISE_FACTOR * noise_adc * levels.0 as f64;
    expected
        .noise_adc
        .is_some_and(|noise_adc| levels.2 > limit(noise_adc))
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
