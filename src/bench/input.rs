//! The input of a benchmark: simulated waveforms of a given length and occupancy, generated before the measurement.

use std::fmt;
use std::str::FromStr;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::{Batch, Waveform};
use crate::simulate::{LightLevel, Overrides, Profile, WaveformPlan, waveforms};

/// Most channels that take part; their waveforms come in turn.
const CHANNELS: u32 = 64;
/// Share of the waveforms of a mix that have light.
const LIT: f64 = 0.1;
/// Mean photoelectrons of those, each as often as the others.
const LIT_PE: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
/// Mean photoelectrons of the waveforms that two backends are compared on, each as often as the others.
const SPREAD_PE: [f64; 8] = [0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 100.0];
/// Seed of all random numbers.
const SEED: u64 = 20_251;

/// The amount of light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Occupancy {
    /// A Poisson number of photoelectrons of this mean in every waveform, dark ones on top.
    MeanPe(f64),
    /// As in a trigger of a large detector: nine of ten waveforms without light, the others with a mean of 1 to 5.
    Mix,
    /// From no light to 100 photoelectrons.
    Spread,
}

impl FromStr for Occupancy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "mix" {
            return Ok(Self::Mix);
        }
        text.parse()
            .ok()
            .filter(|mean| (0.0..=1000.0).contains(mean))
            .map(Self::MeanPe)
            .ok_or_else(|| {
                Error::usage(format!(
                    "`{text}` is not a mean number of photoelectrons from 0 to 1000, and not `mix`"
                ))
            })
    }
}

impl fmt::Display for Occupancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeanPe(mean) => write!(f, "{mean}"),
            Self::Mix => f.write_str("mix"),
            Self::Spread => f.write_str("0 to 100"),
        }
    }
}

impl Serialize for Occupancy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The detector with windows of `samples` samples; the trigger keeps its place relative to the window where that shrinks.
///
/// # Errors
/// If a waveform cannot have that many samples.
pub fn with_window(detector: &Detector, samples: usize) -> Result<Detector> {
    let readout = &detector.readout;
    let share = samples as f64 / readout.window_samples.max(1) as f64;
    Overrides {
        window_samples: Some(samples),
        trigger_ns: (share < 1.0).then_some(readout.trigger_ns * share),
        ..Overrides::default()
    }
    .apply(detector.clone())
}

/// A batch of `count` waveforms, each an event of its own; their numbers begin with `first`. The same arguments give the
/// same samples, another `first` gives others.
///
/// # Errors
/// If the detector cannot be simulated.
pub fn batch(detector: &Detector, occupancy: Occupancy, count: usize, first: u64) -> Result<Batch> {
    let seed = SEED.wrapping_add(first);
    let (means, kinds): (Vec<f64>, Vec<usize>) = match occupancy {
        Occupancy::MeanPe(mean) => (vec![mean], vec![0; count]),
        Occupancy::Mix => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let kinds = (0..count)
                .map(|_| {
                    if random.random::<f64>() < LIT {
                        1 + random.random_range(0..LIT_PE.len())
                    } else {
                        0
                    }
                })
                .collect();
            ([&[0.0], LIT_PE.as_slice()].concat(), kinds)
        }
        Occupancy::Spread => {
            let kinds = (0..count).map(|place| place % SPREAD_PE.len()).collect();
            (SPREAD_PE.to_vec(), kinds)
        }
    };
    let parts = means
        .iter()
        .enumerate()
        .map(|(kind, &mean)| {
            let count = kinds.iter().filter(|&&other| other == kind).count();
            of_mean(detector, mean, count, seed.wrapping_add(kind as u64))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut waveforms: Vec<_> = parts.iter().map(Batch::iter).collect();
    let mut batch = Batch::new_u16(0);
    for (event_id, kind) in (first..).zip(kinds) {
        if let Some(waveform) = waveforms.get_mut(kind).and_then(Iterator::next) {
            batch.push(Waveform {
                event_id,
                ..waveform
            });
        }
    }
    Ok(batch)
}

/// Waveforms with a mean of `mean` photoelectrons.
fn of_mean(detector: &Detector, mean: f64, count: usize, seed: u64) -> Result<Batch> {
    let mut batch = Batch::new_u16(0);
    if count == 0 {
        return Ok(batch);
    }
    let channels: Vec<u32> = (0..detector.n_channels().min(CHANNELS)).collect();
    let plan = WaveformPlan {
        profile: Profile::named("ls", detector)?,
        detector: detector.clone(),
        seed,
        events: count.div_ceil(channels.len().max(1)) as u64,
        channels,
        light: LightLevel::MeanPe(mean),
    };
    for block in waveforms(&plan)? {
        let left = count - batch.len();
        for waveform in block.batch.iter().take(left) {
            batch.push(waveform);
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_the_length_and_the_number_that_were_asked_for() {
        let juno = crate::detector::load("juno").expect("a preset");
        for samples in [128, 1000, 1500] {
            let detector = with_window(&juno, samples).expect("a length that can be");
            for occupancy in [
                Occupancy::MeanPe(2.0),
                Occupancy::Mix,
                Occupancy::Spread,
                Occupancy::MeanPe(0.0),
            ] {
                let batch = batch(&detector, occupancy, 150, 7).expect("waveforms");
                assert_eq!(batch.len(), 150);
                assert_eq!(batch.event_id().last(), Some(&156));
                assert_eq!(batch.samples().len(), 150 * samples);
            }
        }
        assert!(with_window(&juno, 31).is_err());
    }

    #[test]
    fn occupancies_are_numbers_or_the_mix() {
        assert_eq!(
            "0.5".parse::<Occupancy>().ok(),
            Some(Occupancy::MeanPe(0.5))
        );
        assert_eq!("mix".parse::<Occupancy>().ok(), Some(Occupancy::Mix));
        for wrong in ["x", "-1", "nan", "1e9", ""] {
            let error = wrong.parse::<Occupancy>().expect_err("not an occupancy");
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
