//! Extraction from `ndarray` views: samples in, hits as columns out.

use ndarray::{Array1, ArrayView2};

use super::extractor::Extractor;
use crate::error::{Error, Result};
use crate::model::{Extracted, MAX_SAMPLES, MIN_SAMPLES, SamplesRef, Waveform, WaveformSummary};

/// The types of samples that an array may have: `u16` for digitizer counts, `f32` for everything else.
pub trait Sample: Copy + Send + Sync + sealed::Sealed {
    /// Wraps a waveform without copying it.
    fn wrap(samples: &[Self]) -> SamplesRef<'_>;
}

impl Sample for u16 {
    fn wrap(samples: &[Self]) -> SamplesRef<'_> {
        SamplesRef::U16(samples)
    }
}

impl Sample for f32 {
    fn wrap(samples: &[Self]) -> SamplesRef<'_> {
        SamplesRef::F32(samples)
    }
}

mod sealed {
    /// Keeps other types from implementing `Sample`.
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for f32 {}
}

/// Hits as columns, with the names and the order of the table `hits`, and one summary per waveform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HitArrays {
    /// Event of each hit.
    pub event_id: Array1<u64>,
    /// Channel of each hit.
    pub channel_id: Array1<u32>,
    /// Time of each hit from the first sample of its waveform, without the time offset of the channel.
    pub time_ns: Array1<f64>,
    /// Charge of each hit.
    pub charge_pe: Array1<f32>,
    /// Standard deviation of the charge.
    pub charge_sigma_pe: Array1<f32>,
    /// Standard deviation of the time; 0 where the method does not estimate it.
    pub time_sigma_ns: Array1<f32>,
    /// Bits of [`Flags`](crate::model::Flags).
    pub flags: Array1<u32>,
    /// One summary per waveform, in the order of the rows; waveform `i` has the next `summaries[i].n_hits` hits.
    pub summaries: Vec<WaveformSummary>,
}

impl HitArrays {
    fn new(extracted: Extracted, event_id: &[u64], channel_id: &[u32]) -> Self {
        let hits = &extracted.hits;
        let numbers = || {
            extracted
                .summaries
                .iter()
                .map(|summary| summary.n_hits as usize)
        };
        let column = |value: fn(&crate::model::Hit) -> f32| hits.iter().map(value).collect();
        Self {
            event_id: repeated(event_id, numbers()),
            channel_id: repeated(channel_id, numbers()),
            time_ns: hits.iter().map(|hit| hit.time_ns).collect(),
            charge_pe: column(|hit| hit.charge_pe),
            charge_sigma_pe: column(|hit| hit.charge_sigma_pe),
            time_sigma_ns: column(|hit| hit.time_sigma_ns),
            flags: hits.iter().map(|hit| hit.flags.0).collect(),
            summaries: extracted.summaries,
        }
    }
}

/// Repeats each value as often as `numbers` says.
fn repeated<T: Copy>(values: &[T], numbers: impl Iterator<Item = usize>) -> Array1<T> {
    values
        .iter()
        .zip(numbers)
        .flat_map(|(&value, number)| std::iter::repeat_n(value, number))
        .collect()
}

impl Extractor {
    /// Extracts the waveforms of an array of shape (waveforms, samples), on the threads of the current rayon pool.
    ///
    /// `event_id` and `channel_id` have one entry per waveform; the channels select the rows of the calibration. Rows are read in place
    /// where their samples are contiguous (C order, or a slice of it in either axis); other layouts are copied once.
    ///
    /// # Errors
    /// If a slice has not one entry per waveform, or waveforms have fewer than 32 or more than 65,536 samples.
    ///
    /// # Examples
    /// ```
    /// use ndarray::Array2;
    /// use nuwave::extract::{DigitizerConfig, Extractor, Parameters};
    ///
    /// // The digitizer and the nominal templates of a detector.
    /// let detector = nuwave::detector::load("juno")?;
    /// let digitizer = DigitizerConfig {
    ///     sampling_ns: detector.readout.sampling_ns,
    ///     polarity: detector.readout.polarity,
    ///     adc_bits: Some(detector.readout.adc_bits),
    /// };
    /// let calibration = detector.nominal_calibration()?;
    ///
    /// // Two waveforms of 1000 samples: one photoelectron at 300 ns in the first, the second is flat.
    /// let template = calibration.rows()[0].template_adc.clone();
    /// let mut samples = Array2::from_elem((2, 1000), 11_000_u16);
    /// for (sample, value) in samples.row_mut(0).iter_mut().skip(300).zip(template) {
    ///     *sample = (11_000.0 - value).round() as u16;
    /// }
    ///
    /// let extractor = Extractor::new(calibration, digitizer, Parameters::default())?;
    /// let hits = extractor.extract_array(samples.view(), &[7, 7], &[0, 1])?;
    /// assert_eq!(hits.time_ns.len(), 1);
    /// assert_eq!((hits.event_id[0], hits.channel_id[0]), (7, 0));
    /// assert!((hits.charge_pe[0] - 1.0).abs() < 0.1);
    /// # Ok::<(), nuwave::Error>(())
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "views are passed by value, as in ndarray"
    )]
    pub fn extract_array<S: Sample>(
        &self,
        samples: ArrayView2<'_, S>,
        event_id: &[u64],
        channel_id: &[u32],
    ) -> Result<HitArrays> {
        let (n_waveforms, n_samples) = samples.dim();
        for (name, length) in [
            ("event_id", event_id.len()),
            ("channel_id", channel_id.len()),
        ] {
            if length != n_waveforms {
                return Err(Error::usage(format!(
                    "`{name}` has {length} entries for {n_waveforms} waveforms"
                )));
            }
        }
        if n_waveforms > 0 && !(MIN_SAMPLES..=MAX_SAMPLES).contains(&n_samples) {
            return Err(Error::usage(format!(
                "the waveforms have {n_samples} samples, expected {MIN_SAMPLES} to {MAX_SAMPLES}"
            )));
        }
        let rows_are_contiguous = samples
            .rows()
            .into_iter()
            .all(|row| row.as_slice().is_some());
        let extracted = if rows_are_contiguous {
            self.extract_rows(samples, event_id, channel_id)
        } else {
            self.extract_rows(samples.as_standard_layout().view(), event_id, channel_id)
        };
        Ok(HitArrays::new(extracted, event_id, channel_id))
    }

    /// Extracts an array whose rows are contiguous.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "views are passed by value, as in ndarray"
    )]
    fn extract_rows<S: Sample>(
        &self,
        samples: ArrayView2<'_, S>,
        event_id: &[u64],
        channel_id: &[u32],
    ) -> Extracted {
        self.extract_each(0..samples.nrows(), |index| {
            let row = samples.slice_move(ndarray::s![index, ..]).to_slice()?;
            Some(Waveform {
                event_id: event_id[index],
                channel_id: channel_id[index],
                start_ns: 0.0,
                samples: S::wrap(row),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ShapeBuilder as _, s};

    use super::*;
    use crate::extract::tests::helpers::{batch_of, extractor_of, scintillation, waveform};
    use crate::extract::{Backend as _, Method};

    /// Waveforms with light, one per row.
    fn samples() -> Array2<u16> {
        let rows: Vec<u16> = (0..20)
            .flat_map(|seed| waveform(seed, &scintillation(seed, 2.0, 1000), 0.05, 0.05, 1000))
            .collect();
        Array2::from_shape_vec((20, 1000), rows).expect("20 waveforms of 1000 samples")
    }

    #[test]
    fn an_array_gives_the_hits_of_a_batch_in_every_layout() {
        let extractor = extractor_of(Method::Sparse, 0.05, 0.05);
        let samples = samples();
        let rows = samples.rows();
        let batch = batch_of(
            rows.into_iter()
                .map(|row| row.to_slice().expect("contiguous")),
        );
        let extracted = extractor.extract(&batch).expect("extracts");
        assert!(extracted.hits.len() > 20, "there is light");
        let event_id: Vec<u64> = (0..20).collect();
        let expected = HitArrays::new(extracted, &event_id, &[0; 20]);

        let arrays = |view| {
            extractor
                .extract_array(view, &event_id, &[0; 20])
                .expect("extracts")
        };
        assert_eq!(arrays(samples.view()), expected);
        // Columns of a wider array: rows are contiguous, the array is not.
        let mut wide = Array2::zeros((20, 1200));
        wide.slice_mut(s![.., 100..1100]).assign(&samples);
        assert_eq!(arrays(wide.slice(s![.., 100..1100])), expected);
        let mut fortran = Array2::zeros((20, 1000).f());
        fortran.assign(&samples);
        assert_eq!(arrays(fortran.view()), expected);
        // Counts are the same as floats.
        let floats = samples.mapv(f32::from);
        let found = extractor.extract_array(floats.view(), &event_id, &[0; 20]);
        assert_eq!(found.expect("extracts"), expected);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let extractor = extractor_of(Method::Deconvolution, 0.05, 0.05);
        let refused = |shape: (usize, usize), n_events, n_channels| {
            let samples = Array2::<u16>::zeros(shape);
            let (events, channels) = (vec![0; n_events], vec![0; n_channels]);
            let error = extractor.extract_array(samples.view(), &events, &channels);
            error.expect_err("a wrong shape").to_string()
        };
        assert_eq!(
            refused((2, 100), 1, 2),
            "`event_id` has 1 entries for 2 waveforms"
        );
        assert_eq!(
            refused((2, 100), 2, 3),
            "`channel_id` has 3 entries for 2 waveforms"
        );
        assert_eq!(
            refused((2, 10), 2, 2),
            "the waveforms have 10 samples, expected 32 to 65536"
        );
        let none = Array2::<u16>::zeros((0, 0));
        let hits = extractor
            .extract_array(none.view(), &[], &[])
            .expect("no waveforms");
        assert_eq!(hits, HitArrays::default());
    }
}
