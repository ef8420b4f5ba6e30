//! Are there samples that a digitiser of the stated resolution cannot have given?

use serde::{Deserialize, Serialize};

use crate::model::{Batch, Samples, SamplesRef};

/// The waveforms with samples above the highest value of the digitiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AboveRange {
    /// Number of these waveforms.
    pub waveforms: u64,
    /// The greatest sample.
    pub greatest: f64,
}

impl AboveRange {
    /// Adds the waveforms of `batch`, from a digitiser of `adc_bits` bits. Without a resolution there is no limit.
    pub fn add(&mut self, batch: &Batch, adc_bits: Option<u32>) {
        let Some(limit) = adc_bits.and_then(highest) else {
            return;
        };
        // Nearly always no sample of the whole batch is above the limit.
        let greatest = match batch.samples() {
            Samples::U16(samples) => greatest_u16(samples),
            Samples::F32(samples) => greatest_f32(samples),
        };
        if greatest <= limit {
            return;
        }
        self.greatest = self.greatest.max(f64::from(greatest));
        let is_above = |samples: SamplesRef<'_>| match samples {
            SamplesRef::U16(samples) => greatest_u16(samples) > limit,
            SamplesRef::F32(samples) => greatest_f32(samples) > limit,
        };
        let above = batch.iter().filter(|waveform| is_above(waveform.samples));
        self.waveforms += above.count() as u64;
    }

    /// Adds the waveforms of another part of the same input.
    pub fn merge(&mut self, other: Self) {
        self.waveforms += other.waveforms;
        self.greatest = self.greatest.max(other.greatest);
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waveforms == 0
    }

    /// Returns the warning about these waveforms of `all` in the input, whose digitiser has `adc_bits` bits.
    #[must_use]
    pub fn warning(&self, all: u64, adc_bits: u32) -> String {
        format!(
            "{} of {all} waveforms have samples up to {}, above the highest value {} of {adc_bits} bits: the resolution is another one, or these are flag bits, 8-bit or float samples",
            self.waveforms,
            self.greatest,
            highest(adc_bits).unwrap_or(f32::INFINITY)
        )
    }
}

/// Returns the highest value of a digitiser.
fn highest(adc_bits: u32) -> Option<f32> {
    let values = 1_u32.checked_shl(adc_bits).filter(|_| adc_bits <= 24)?;
    Some((values - 1) as f32)
}

fn greatest_u16(samples: &[u16]) -> f32 {
    f32::from(samples.iter().copied().fold(0, u16::max))
}

fn greatest_f32(samples: &[f32]) -> f32 {
    // Infinite samples have a flag of their own.
    let greater = |most: f32, sample: f32| {
        if sample > most && sample < f32::INFINITY {
            sample
        } else {
            most
        }
    };
    samples.iter().copied().fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Waveform;

    fn batch(waveforms: &[&[f32]], is_float: bool) -> Batch {
        let mut batch = if is_float {
            Batch::new_f32(0)
        } else {
            Batch::new_u16(0)
        };
        for samples in waveforms {
            let counts: Vec<u16> = samples.iter().map(|&sample| sample as u16).collect();
            batch.push(Waveform {
                event_id: 0,
                channel_id: 0,
                start_ns: 0.0,
                samples: if is_float {
                    SamplesRef::F32(samples)
                } else {
                    SamplesRef::U16(&counts)
                },
            });
        }
        batch
    }

    #[test]
    fn waveforms_above_the_range_are_counted_with_their_greatest_sample() {
        let waveforms: [&[f32]; 3] = [&[5.0, 4095.0], &[4096.0, 7.0], &[1.0, 33_000.0]];
        for is_float in [false, true] {
            let batch = batch(&waveforms, is_float);
            let mut above = AboveRange::default();
            above.add(&batch, Some(12));
            above.add(&batch, Some(16));
            above.add(&batch, None);
            let expected = AboveRange {
                waveforms: 2,
                greatest: 33_000.0,
            };
            assert_eq!(above, expected);
            above.add(&batch, Some(15));
            assert_eq!(above.waveforms, 3);
        }
        let mut above = AboveRange::default();
        above.add(&batch(&[&[f32::NAN, -3.0, f32::NAN]], true), Some(12));
        assert!(above.is_empty());
    }
}
