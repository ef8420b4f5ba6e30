//! A batch: the samples of many waveforms, contiguous, with their events and channels.

use serde::{Deserialize, Serialize};

/// Minimum number of samples per waveform.
pub const MIN_SAMPLES: usize = 32;
/// Maximum number of samples per waveform.
pub const MAX_SAMPLES: usize = 65_536;

/// The direction of the pulses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Polarity {
    /// Light lowers the sample values (a PMT anode on a digitiser).
    Negative,
    /// Light raises the sample values.
    Positive,
}

impl Polarity {
    /// Returns the name in files and options: `negative` or `positive`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Positive => "positive",
        }
    }

    /// Returns `-1.0` or `1.0`: the factor that makes pulses positive.
    #[must_use]
    pub fn sign(self) -> f32 {
        match self {
            Self::Negative => -1.0,
            Self::Positive => 1.0,
        }
    }
}

/// Raw samples in ADC counts. Unsigned integers of up to 16 bits are kept as `u16`, every other type as `f32`.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned counts, as nearly every digitiser writes them.
    U16(Vec<u16>),
    /// Signed, wider, or floating-point samples.
    F32(Vec<f32>),
}

impl Samples {
    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U16(samples) => samples.len(),
            Self::F32(samples) => samples.len(),
        }
    }

    /// Returns true if there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The samples of one waveform, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SamplesRef<'a> {
    /// Unsigned counts.
    U16(&'a [u16]),
    /// Everything else.
    F32(&'a [f32]),
}

impl<'a> SamplesRef<'a> {
    /// Returns sample `index` as `f32`.
    #[must_use]
    pub fn sample(&self, index: usize) -> Option<f32> {
        match self {
            Self::U16(samples) => samples.get(index).map(|&sample| f32::from(sample)),
            Self::F32(samples) => samples.get(index).copied(),
        }
    }

    /// Returns the samples `range`; none if it exceeds the waveform.
    #[must_use]
    pub fn range(self, range: std::ops::Range<usize>) -> SamplesRef<'a> {
        match self {
            Self::U16(samples) => Self::U16(samples.get(range).unwrap_or_default()),
            Self::F32(samples) => Self::F32(samples.get(range).unwrap_or_default()),
        }
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U16(samples) => samples.len(),
            Self::F32(samples) => samples.len(),
        }
    }

    /// Returns true if there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the samples as `f32` (exact for 16-bit counts).
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::U16(samples) => samples.iter().map(|&sample| f32::from(sample)).collect(),
            Self::F32(samples) => samples.to_vec(),
        }
    }
}

/// One waveform, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waveform<'a> {
    /// The event.
    pub event_id: u64,
    /// The channel.
    pub channel_id: u32,
    /// Start of the window in the event's time; 0 if the input does not state it.
    pub start_ns: f64,
    /// The samples.
    pub samples: SamplesRef<'a>,
}

/// Waveforms of one input, in the input's order.
///
/// Waveform `i` has the samples `offsets[i]..offsets[i + 1]`; `offsets` has one entry more than there are
/// waveforms and begins with 0. `event_id`, `channel_id` and (unless empty) `start_ns` have one entry per waveform.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    input_id: u32,
    event_id: Vec<u64>,
    channel_id: Vec<u32>,
    start_ns: Vec<f64>,
    offsets: Vec<usize>,
    samples: Samples,
}

impl Batch {
    /// Creates an empty batch of input `input_id` for samples of the type of `samples`, whose memory it reuses.
    #[must_use]
    pub fn new(input_id: u32, mut samples: Samples) -> Self {
        match &mut samples {
            Samples::U16(samples) => samples.clear(),
            Samples::F32(samples) => samples.clear(),
        }
        Self {
            input_id,
            event_id: Vec::new(),
            channel_id: Vec::new(),
            start_ns: Vec::new(),
            offsets: vec![0],
            samples,
        }
    }

    /// Creates an empty batch of `u16` samples.
    #[must_use]
    pub fn new_u16(input_id: u32) -> Self {
        Self::new(input_id, Samples::U16(Vec::new()))
    }

    /// Creates an empty batch of `f32` samples.
    #[must_use]
    pub fn new_f32(input_id: u32) -> Self {
        Self::new(input_id, Samples::F32(Vec::new()))
    }

    /// Appends a waveform. Samples of the other type are converted: `f32` into a `u16` batch turns the whole batch into `f32`.
    pub fn push(&mut self, waveform: Waveform<'_>) {
        match (&mut self.samples, waveform.samples) {
            (Samples::U16(all), SamplesRef::U16(new)) => all.extend_from_slice(new),
            (Samples::F32(all), SamplesRef::F32(new)) => all.extend_from_slice(new),
            (Samples::F32(all), SamplesRef::U16(new)) => {
                all.extend(new.iter().map(|&sample| f32::from(sample)));
            }
            (Samples::U16(all), SamplesRef::F32(new)) => {
                let mut converted: Vec<f32> = all.iter().map(|&sample| f32::from(sample)).collect();
                converted.extend_from_slice(new);
                self.samples = Samples::F32(converted);
            }
        }
        self.event_id.push(waveform.event_id);
        self.channel_id.push(waveform.channel_id);
        // An absent `start_ns` column stays absent until a waveform has one.
        if waveform.start_ns != 0.0 || !self.start_ns.is_empty() {
            self.start_ns.resize(self.event_id.len() - 1, 0.0);
            self.start_ns.push(waveform.start_ns);
        }
        self.offsets.push(self.samples.len());
    }

    /// Appends all waveforms of `other`, as repeated [`push`](Self::push).
    pub fn append(&mut self, other: &Self) {
        let (Samples::U16(all), Samples::U16(new)) = (&mut self.samples, &other.samples) else {
            for waveform in other.iter() {
                self.push(waveform);
            }
            return;
        };
        let before = all.len();
        all.extend_from_slice(new);
        self.event_id.extend_from_slice(&other.event_id);
        self.channel_id.extend_from_slice(&other.channel_id);
        if !self.start_ns.is_empty() || !other.start_ns.is_empty() {
            self.start_ns.resize(self.event_id.len() - other.len(), 0.0);
            self.start_ns.extend_from_slice(&other.start_ns);
            self.start_ns.resize(self.event_id.len(), 0.0);
        }
        let ends = other.offsets.iter().skip(1);
        self.offsets.extend(ends.map(|end| before + end));
    }

    /// Returns the index of the input in the list of inputs.
    #[must_use]
    pub fn input_id(&self) -> u32 {
        self.input_id
    }

    /// Returns the number of waveforms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.event_id.len()
    }

    /// Returns true if there is no waveform.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.event_id.is_empty()
    }

    /// Returns the event of each waveform.
    #[must_use]
    pub fn event_id(&self) -> &[u64] {
        &self.event_id
    }

    /// Returns the channel of each waveform.
    #[must_use]
    pub fn channel_id(&self) -> &[u32] {
        &self.channel_id
    }

    /// Returns the start of each waveform's window in the event's time; empty if all start at 0.
    #[must_use]
    pub fn start_ns(&self) -> &[f64] {
        &self.start_ns
    }

    /// Returns the index of each waveform's first sample and, last, the number of samples: `len() + 1` entries.
    #[must_use]
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Returns all samples, contiguous.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Returns waveform `index`, or `None` past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Waveform<'_>> {
        let event_id = *self.event_id.get(index)?;
        let channel_id = *self.channel_id.get(index)?;
        let range = *self.offsets.get(index)?..*self.offsets.get(index + 1)?;
        let samples = match &self.samples {
            Samples::U16(samples) => SamplesRef::U16(samples.get(range)?),
            Samples::F32(samples) => SamplesRef::F32(samples.get(range)?),
        };
        let start_ns = self.start_ns.get(index).copied().unwrap_or(0.0);
        Some(Waveform {
            event_id,
            channel_id,
            start_ns,
            samples,
        })
    }

    /// Iterates over the waveforms in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Waveform<'_>> {
        (0..self.len()).map(|index| {
            self.get(index)
                .unwrap_or_else(|| unreachable!("`push` keeps the columns of a batch equally long"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_pushed() {
        let mut batch = Batch::new_u16(3);
        batch.push(Waveform {
            event_id: 7,
            channel_id: 1,
            start_ns: 0.0,
            samples: SamplesRef::U16(&[1, 2, 3]),
        });
        batch.push(Waveform {
            event_id: 8,
            channel_id: 2,
            start_ns: 40.0,
            samples: SamplesRef::U16(&[4]),
        });
        assert_eq!(batch.len(), 2);
        assert_eq!(batch.offsets(), [0, 3, 4]);
        assert_eq!(batch.start_ns(), [0.0, 40.0]);
        let second = batch.get(1).expect("there are two");
        assert_eq!(
            (second.event_id, second.channel_id, second.start_ns),
            (8, 2, 40.0)
        );
        assert_eq!(second.samples, SamplesRef::U16(&[4]));
        assert_eq!(batch.get(2), None);
    }

    #[test]
    fn appending_is_pushing_one_after_the_other() {
        let waveform = |event_id, start_ns, samples| Waveform {
            event_id,
            channel_id: 1,
            start_ns,
            samples,
        };
        let counts = SamplesRef::U16(&[1, 2, 3]);
        let volts = SamplesRef::F32(&[0.5, 0.25]);
        let one = |samples, starts: [f64; 2]| {
            let mut batch = Batch::new_u16(0);
            batch.push(waveform(1, starts[0], samples));
            batch.push(waveform(2, starts[1], samples));
            batch
        };
        let some = [
            one(counts, [0.0, 0.0]),
            one(counts, [0.0, 7.0]),
            one(volts, [1.0, 0.0]),
            one(counts, [0.0, 0.0]),
        ];
        for (first, second) in some.iter().flat_map(|a| some.iter().map(move |b| (a, b))) {
            let mut appended = first.clone();
            appended.append(second);
            let mut pushed = first.clone();
            second.iter().for_each(|waveform| pushed.push(waveform));
            assert_eq!(appended, pushed);
        }
    }

    #[test]
    fn a_float_waveform_turns_the_batch_into_floats() {
        let mut batch = Batch::new_u16(0);
        batch.push(Waveform {
            event_id: 0,
            channel_id: 0,
            start_ns: 0.0,
            samples: SamplesRef::U16(&[65_535]),
        });
        batch.push(Waveform {
            event_id: 1,
            channel_id: 0,
            start_ns: 0.0,
            samples: SamplesRef::F32(&[-0.5]),
        });
        assert_eq!(batch.samples(), &Samples::F32(vec![65_535.0, -0.5]));
    }
}
