//! Helpers of unit tests: a JUNO-like template, reproducible noise and light, extraction of it.

use rand::RngExt as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::extract::{Backend as _, DigitizerConfig, Extractor, Method, Parameters};
use crate::math;
use crate::model::{
    Batch, Calibration, ChannelCalibration, Flags, Hit, Polarity, SamplesRef, Waveform,
};

/// The peak of [`juno_template`].
pub const PEAK_ADC: f32 = 115.0;

/// Returns `count` numbers of a standard normal distribution.
pub fn gaussian(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.sample(StandardNormal)).collect()
}

/// Returns the value at `t_ns` of a log-normal pulse (peak 1 at 13 ns) with an undershoot of `undershoot`, decaying in 100 ns.
pub fn juno_pulse(t_ns: f64, undershoot: f64) -> f64 {
    let log_normal = |t: f64| {
        if t > 0.0 {
            math::exp(-0.5 * (math::ln(t / 13.0) / 0.43).powi(2))
        } else {
            0.0
        }
    };
    if t_ns <= 0.0 {
        return 0.0;
    }
    // Convolution with the decay, by the midpoint rule over the pulse.
    let step = 0.25;
    let tail: f64 = (0..(t_ns.min(80.0) / step).ceil() as usize)
        .map(|index| {
            let at = (index as f64 + 0.5) * step;
            if at < t_ns {
                log_normal(at) * math::exp(-(t_ns - at) / 100.0) * step
            } else {
                0.0
            }
        })
        .sum();
    log_normal(t_ns) - undershoot / 15.37 * tail
}

/// The pulse at whole nanoseconds, 700 of them, with a peak of [`PEAK_ADC`].
pub fn juno_template(undershoot: f32) -> Vec<f32> {
    (0..700)
        .map(|t| PEAK_ADC * juno_pulse(f64::from(t), f64::from(undershoot)) as f32)
        .collect()
}

/// Returns a calibration row with that template and a noise of `noise` times its peak.
pub fn juno_row(undershoot: f32, noise: f32) -> ChannelCalibration {
    ChannelCalibration {
        template_adc: juno_template(undershoot),
        noise_adc: noise * PEAK_ADC,
        time_offset_ns: 0.0,
        dark_rate_hz: 0.0,
        charge_sigma_pe: 0.3,
        time_sigma_ns: 1.3,
        sampling_ns: 1.0,
        baseline_noise_ratio: 1.0,
        flags: Flags::NONE,
        measurement: None,
    }
}

/// Time and charge of a photoelectron.
pub type Photoelectron = (f64, f64);

/// Returns the waveform of `light`: negative pulses on a baseline of 11,000 counts, with a noise of `noise` times the peak.
pub fn waveform(
    seed: u64,
    light: &[Photoelectron],
    undershoot: f64,
    noise: f32,
    length: usize,
) -> Vec<u16> {
    let fine = fine_pulse(undershoot);
    let mut upright: Vec<f64> = gaussian(seed, length)
        .into_iter()
        .map(|value| f64::from(noise * value))
        .collect();
    for &(t0, charge) in light {
        for (t, sample) in upright.iter_mut().enumerate() {
            let position = (t as f64 - t0) * 16.0;
            let index = position as usize;
            if position > 0.0
                && let (Some(a), Some(b)) = (fine.get(index), fine.get(index + 1))
            {
                *sample += charge * (a + (b - a) * position.fract());
            }
        }
    }
    upright
        .into_iter()
        .map(|value| (11_000.0 - f64::from(PEAK_ADC) * value).round() as u16)
        .collect()
}

fn fine_pulse(undershoot: f64) -> std::sync::Arc<Vec<f64>> {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, OnceLock};
    static KNOWN: OnceLock<Mutex<HashMap<u64, Arc<Vec<f64>>>>> = OnceLock::new();
    let mut known = KNOWN
        .get_or_init(Mutex::default)
        .lock()
        .expect("no test panics inside");
    let pulse = || {
        Arc::new(
            (0..11_200)
                .map(|index| juno_pulse(f64::from(index) / 16.0, undershoot))
                .collect(),
        )
    };
    Arc::clone(known.entry(undershoot.to_bits()).or_insert_with(pulse))
}

/// Returns scintillation light of a Poisson number of photoelectrons with mean `mu`: JUNO's decay components, a transit-time
/// spread of 2.5 ns, a charge spread of 30 %, the front at 300 ns plus a random part of a sample. In time order.
pub fn scintillation(seed: u64, mu: f64, length: usize) -> Vec<Photoelectron> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let front = 300.0 + random.random::<f64>();
    let count = rand_distr::Poisson::new(mu).map_or(0.0, |poisson| random.sample::<f64, _>(poisson))
        as usize;
    let mut light: Vec<Photoelectron> = (0..count)
        .map(|_| {
            let which: f64 = random.random();
            let tau = [(0.707, 4.6), (0.912, 15.1), (0.972, 76.1)]
                .into_iter()
                .find(|(upto, _)| which < *upto)
                .map_or(397.0, |(_, tau)| tau);
            let spread: f64 = random.sample(StandardNormal);
            let charge: f64 = random.sample(StandardNormal);
            let time = front - tau * math::ln(1.0 - random.random::<f64>()) + 2.5 * spread;
            (time, (1.0 + 0.3 * charge).abs())
        })
        .filter(|(time, _)| *time < length as f64)
        .collect();
    light.sort_by(|a, b| a.0.total_cmp(&b.0));
    light
}

/// Returns the light of `count` waveforms, each with `pulses` (time and charge) after the same time plus a fraction of a sample. That time is
/// `begin_ns`, and grows by a nanosecond in `per_ns` waveforms.
pub fn repeated_pulses(
    (begin_ns, per_ns): (f64, f64),
    count: u32,
    pulses: &[Photoelectron],
) -> Vec<Vec<Photoelectron>> {
    (0..count)
        .map(|step| {
            let begin_ns = begin_ns + f64::from(step) / per_ns;
            let at = |&(time, charge): &Photoelectron| (begin_ns + time, charge);
            pulses.iter().map(at).collect()
        })
        .collect()
}

/// Returns the light of `count` waveforms with [`scintillation`].
pub fn scintillations(count: u64, mu: f64) -> Vec<Vec<Photoelectron>> {
    (0..count)
        .map(|seed| scintillation(seed, mu, 1000))
        .collect()
}

/// Creates an extractor of `method` with [`juno_row`].
pub fn extractor_of(method: Method, undershoot: f32, noise: f32) -> Extractor {
    let row = juno_row(undershoot, noise);
    extractor_with(row, method, Polarity::Negative, Some(14))
}

/// Creates an extractor for samples of 1 ns whose channels all have `row`.
pub fn extractor_with(
    row: ChannelCalibration,
    method: Method,
    polarity: Polarity,
    adc_bits: Option<u32>,
) -> Extractor {
    let mut calibration = Calibration::new();
    let row = calibration.add_row(row).expect("a valid row");
    calibration.set_default(row);
    calibration.assign(0, row);
    let readout = DigitizerConfig {
        sampling_ns: 1.0,
        polarity,
        adc_bits,
    };
    let parameters = Parameters {
        method,
        ..Parameters::default()
    };
    Extractor::new(calibration, readout, parameters).expect("valid")
}

/// Creates a batch of waveforms of one channel.
pub fn batch_of<'a>(waveforms: impl IntoIterator<Item = &'a [u16]>) -> Batch {
    let mut batch = Batch::new_u16(0);
    for (event_id, samples) in waveforms.into_iter().enumerate() {
        batch.push(Waveform {
            event_id: event_id as u64,
            channel_id: 0,
            start_ns: 0.0,
            samples: SamplesRef::U16(samples),
        });
    }
    batch
}

/// Creates a batch of one waveform of floats.
pub fn batch_of_floats(samples: &[f32]) -> Batch {
    let mut batch = Batch::new_f32(0);
    batch.push(Waveform {
        event_id: 0,
        channel_id: 0,
        start_ns: 0.0,
        samples: SamplesRef::F32(samples),
    });
    batch
}

/// Creates the waveforms of `light`, each with its own noise.
pub fn waveforms(light: &[Vec<Photoelectron>], undershoot: f64, noise: f32) -> Batch {
    let samples: Vec<Vec<u16>> = (0..)
        .zip(light)
        .map(|(seed, light)| waveform(seed, light, undershoot, noise, 1000))
        .collect();
    batch_of(samples.iter().map(Vec::as_slice))
}

/// Returns the hits of each waveform of `light`.
pub fn hits(
    extractor: &Extractor,
    light: &[Vec<Photoelectron>],
    undershoot: f64,
    noise: f32,
) -> Vec<Vec<Hit>> {
    let batch = waveforms(light, undershoot, noise);
    let extracted = extractor.extract(&batch).expect("extracts");
    let mut rest = extracted.hits.as_slice();
    extracted
        .summaries
        .iter()
        .map(|summary| {
            let (mine, others) = rest.split_at(summary.n_hits as usize);
            rest = others;
            mine.to_vec()
        })
        .collect()
}

/// Returns the number of waveforms in which every photoelectron has exactly one hit within `within_ns`.
pub fn n_resolved(light: &[Vec<Photoelectron>], found: &[Vec<Hit>], within_ns: f64) -> usize {
    let is_resolved = |one: &Photoelectron, hits: &[Hit]| {
        let is_near = |hit: &&Hit| (hit.time_ns - one.0).abs() < within_ns;
        hits.iter().filter(is_near).count() == 1
    };
    light
        .iter()
        .zip(found)
        .filter(|(light, hits)| light.iter().all(|one| is_resolved(one, hits)))
        .count()
}

/// Returns the error of the charge in units of the stated one.
pub fn charge_pull(hit: &Hit, charge_pe: f64) -> f64 {
    (f64::from(hit.charge_pe) - charge_pe) / f64::from(hit.charge_sigma_pe)
}

/// Returns the error of the time in units of the stated one.
pub fn time_pull(hit: &Hit, time_ns: f64) -> f64 {
    (hit.time_ns - time_ns) / f64::from(hit.time_sigma_ns)
}

/// Returns the root of the mean square.
pub fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}

/// Returns half of the width of the central 68 %.
pub fn spread(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quantile = |share: f64| values[(share * values.len() as f64) as usize];
    0.5 * (quantile(0.8413) - quantile(0.1587))
}

/// Returns the Wasserstein distance of charge-normalized hits and truth.
pub fn wasserstein_ns(light: &[Photoelectron], hits: &[Hit]) -> f64 {
    let total: f64 = light.iter().map(|one| one.1).sum();
    let found: f64 = hits.iter().map(|hit| f64::from(hit.charge_pe)).sum();
    let mut steps: Vec<(f64, f64)> = light.iter().map(|one| (one.0, one.1 / total)).collect();
    steps.extend(
        hits.iter()
            .map(|hit| (hit.time_ns, -f64::from(hit.charge_pe) / found)),
    );
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    steps
        .windows(2)
        .map(|pair| {
            sum += pair[0].1;
            sum.abs() * (pair[1].0 - pair[0].0)
        })
        .sum()
}
