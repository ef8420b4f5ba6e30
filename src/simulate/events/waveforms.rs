//! Raw waveforms of a simulated event: the pulses of its photoelectrons with noise, digitised.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::SimulatedEvent;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::{Batch, SamplesRef, Waveform};
use crate::simulate::channel::{ChannelModel, WaveformKey};
use crate::threads::in_pool;

/// Waveforms per parallel task.
const WAVEFORMS_PER_TASK: usize = 64;

/// The channels with a waveform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ReadoutChannels {
    /// Those with a photoelectron in the window, as a zero-suppressed readout keeps them
    #[default]
    Lit,
    /// All of the detector
    All,
}

/// Makes waveforms of events; can be shared between threads.
pub struct Digitiser<'a> {
    detector: &'a Detector,
    models: Vec<ChannelModel>,
    channels: ReadoutChannels,
    seed: u64,
}

impl<'a> Digitiser<'a> {
    /// For events of `detector`; `seed` fixes noise and digitisation.
    ///
    /// # Errors
    /// If a pulse shape cannot be built.
    pub fn new(detector: &'a Detector, channels: ReadoutChannels, seed: u64) -> Result<Self> {
        let models = detector
            .pmt_types
            .iter()
            .map(|pmt| ChannelModel::new(&detector.readout, pmt))
            .collect::<Result<_>>()?;
        Ok(Self {
            detector,
            models,
            channels,
            seed,
        })
    }

    /// Appends the waveforms of `event`, in the order of their channels, to `batch`.
    ///
    /// # Errors
    /// If the event is of another detector.
    pub fn waveforms(&self, event: &SimulatedEvent, batch: &mut Batch) -> Result<()> {
        let sensors = self.detector.sensors().map(|sensors| sensors.all());
        let sensors = sensors.unwrap_or_default();
        let seen: Vec<_> = event
            .photoelectrons
            .chunk_by(|a, b| a.channel_id == b.channel_id)
            .collect();
        let of = |channel_id: u32| {
            let index = seen.binary_search_by_key(&channel_id, |group| group[0].channel_id);
            index.map_or(&[][..], |index| seen[index])
        };
        let mut channels: Vec<(u32, usize)> = sensors
            .iter()
            .map(|sensor| (sensor.channel_id, sensor.type_index))
            .filter(|(channel, _)| {
                self.channels == ReadoutChannels::All || !of(*channel).is_empty()
            })
            .collect();
        channels.sort_unstable();
        let n_samples = self.detector.readout.window_samples;
        let mut samples = vec![0_u16; n_samples * channels.len()];
        in_pool(|| {
            samples
                .par_chunks_mut(WAVEFORMS_PER_TASK * n_samples)
                .zip(channels.par_chunks(WAVEFORMS_PER_TASK))
                .try_for_each(|(samples, channels)| {
                    let mut light_adc = vec![0.0; n_samples];
                    for (samples, &(channel_id, kind)) in
                        samples.chunks_mut(n_samples).zip(channels)
                    {
                        let model = self.models.get(kind).ok_or_else(|| {
                            Error::internal(format!("channel {channel_id} is of no PMT type"))
                        })?;
                        let key = WaveformKey {
                            seed: self.seed,
                            event_id: event.truth.event_id,
                            channel_id,
                        };
                        model.render(key, of(channel_id), &mut light_adc, samples);
                    }
                    Ok::<_, Error>(())
                })
        })?;
        for (samples, &(channel_id, _)) in samples.chunks(n_samples).zip(&channels) {
            batch.push(Waveform {
                event_id: event.truth.event_id,
                channel_id,
                start_ns: 0.0,
                samples: SamplesRef::U16(samples),
            });
        }
        Ok(())
    }
}
