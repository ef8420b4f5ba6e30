//! Events with truth: energy deposits, photons, photoelectrons of all channels, hits or waveforms.

mod deposit;
mod hits;
mod photons;
mod plan;
mod sensor_grid;
mod waveforms;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson, StandardNormal};
use rayon::prelude::*;

pub use deposit::Particle;
pub use hits::HitFinder;
pub use plan::{Energy, EventPlan, EventSource, Vertex};
pub use waveforms::{Digitiser, ReadoutChannels};

use super::charge::ChargeSpectrum;
use super::random::{Purpose, stream};
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::vector::Vector;
use crate::model::{ChannelHit, EventHits, Photoelectron, TrueEvent};
use crate::threads::in_pool;
use deposit::draw_deposits;
use photons::Optics;

/// Events per block.
const BLOCK_EVENTS: u64 = 64;
/// Photons from the centre for the normalisation of the light yield: 0.2 % error if a quarter is detected.
const NORMALISATION_PHOTONS: u64 = 400_000;
/// Maximum deviation of a PMT's efficiency from its type, in standard deviations.
const BEST_SIGMAS: f64 = 4.0;

/// A channel's own constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelConstants {
    /// Efficiency relative to its type's.
    pub efficiency: f64,
    /// Delay of its times.
    pub time_offset_ns: f64,
}

/// The constants of all channels, in the order of the detector's sensors; none without a geometry.
#[must_use]
pub fn channel_constants(detector: &Detector, detector_seed: u64) -> Vec<ChannelConstants> {
    let sensors = detector.sensors().map(|sensors| sensors.all());
    sensors
        .unwrap_or_default()
        .iter()
        .map(|sensor| {
            let pmt = &detector.pmt_types[sensor.type_index];
            let normal = |purpose| -> f64 {
                let mut rng = stream(detector_seed, u64::MAX, sensor.channel_id, purpose);
                StandardNormal.sample(&mut rng)
            };
            let sigmas = normal(Purpose::Efficiency).clamp(-BEST_SIGMAS, BEST_SIGMAS);
            ChannelConstants {
                efficiency: (1.0 + pmt.efficiency_spread * sigmas).max(0.0),
                time_offset_ns: pmt.time_offset_spread_ns * normal(Purpose::TimeOffset),
            }
        })
        .collect()
}

/// One simulated event.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedEvent {
    /// The truth; of the first event if a second follows.
    pub truth: TrueEvent,
    /// Photoelectrons in the window, dark ones included, by channel and time.
    pub photoelectrons: Vec<Photoelectron>,
}

/// The events of a plan, block by block; memory does not grow with their number.
pub struct EventGenerator<'a> {
    plan: &'a EventPlan,
    optics: Optics,
    constants: Vec<ChannelConstants>,
    charges: Vec<ChargeSpectrum>,
    /// Indices of the sensors of each type.
    members: Vec<Vec<u32>>,
    /// Photons tracked for 1 MeV of visible energy.
    photons_per_mev: f64,
    /// Maximum efficiency for a photon.
    max_efficiency: f64,
    next: u64,
}

/// The events of `plan`. Each block is made by the threads of rayon's current pool.
///
/// # Errors
/// If the detector lacks geometry or medium, or a value of the plan is out of range.
pub fn events(plan: &EventPlan) -> Result<EventGenerator<'_>> {
    let detector = &plan.detector;
    let optics = Optics::new(detector)?;
    plan.validate()?;
    let spread = detector
        .pmt_types
        .iter()
        .map(|pmt| pmt.efficiency_spread)
        .fold(0.0, f64::max);
    let mut members = vec![Vec::new(); detector.pmt_types.len()];
    if let Some(sensors) = detector.sensors() {
        for (index, sensor) in (0..).zip(sensors.all()) {
            members[sensor.type_index].push(index);
        }
    }
    let mut events = EventGenerator {
        plan,
        max_efficiency: optics.max_efficiency() * (1.0 + BEST_SIGMAS * spread),
        optics,
        constants: channel_constants(detector, plan.detector_seed),
        charges: detector.pmt_types.iter().map(ChargeSpectrum::new).collect(),
        members,
        photons_per_mev: 0.0,
        next: 0,
    };
    events.photons_per_mev = events.normalisation()?;
    Ok(events)
}

impl EventGenerator<'_> {
    /// Returns the number of photons to track per MeV, for which an event at the centre has the medium's light yield.
    fn normalisation(&self) -> Result<f64> {
        let parts = 100;
        let seen: Vec<f64> = in_pool(|| {
            (0..parts)
                .into_par_iter()
                .map(|part| {
                    let mut rng = stream(1, part, 0, Purpose::Normalisation);
                    (0..NORMALISATION_PHOTONS / parts)
                        .filter_map(|_| self.optics.propagate([0.0; 3], &mut rng))
                        .map(|one| one.efficiency * self.constants[one.sensor].efficiency)
                        .sum()
                })
                .collect()
        });
        let per_photon =
            seen.iter().sum::<f64>() / self.max_efficiency / NORMALISATION_PHOTONS as f64;
        let light = self.plan.detector.medium.as_ref();
        match light.map(|medium| medium.light_pe_per_mev) {
            Some(light) if per_photon > 0.0 => Ok(light / per_photon),
            _ => Err(Error::usage(
                "no light from the centre reaches a PMT in this detector",
            )),
        }
    }

    fn source_of(&self, number: u64) -> &EventSource {
        let mut rest = number;
        for source in &self.plan.sources {
            if rest < source.events {
                return source;
            }
            rest -= source.events;
        }
        &self.plan.sources[self.plan.sources.len() - 1]
    }

    fn make(&self, number: u64) -> SimulatedEvent {
        let plan = self.plan;
        let event_id = plan.first_event + number;
        let source = self.source_of(number);
        let readout = &plan.detector.readout;
        let mut rng = stream(plan.seed, event_id, u32::MAX, Purpose::Vertex);
        let spread = 2.0 * rng.random::<f64>() - 1.0;
        let phase = readout.sampling_ns * rng.random::<f64>();
        let start_ns = readout.trigger_ns + plan.time_spread_ns * spread + phase;
        let mut photons = stream(plan.seed, event_id, u32::MAX, Purpose::Photons);
        let mut photoelectrons = Vec::new();
        let mut truth = TrueEvent::default();
        for (which, gap_ns) in [Some(0.0), plan.pile_up_ns]
            .into_iter()
            .flatten()
            .enumerate()
        {
            let vertex = source.vertex.draw(&mut rng);
            let energy_mev = source.energy.draw(&mut rng);
            let time_ns = start_ns + gap_ns;
            let mut deposits_rng = stream(plan.seed, event_id, which as u32, Purpose::Deposits);
            let (deposits, energy_mev) =
                draw_deposits(source.particle, vertex, energy_mev, &mut deposits_rng);
            if which == 0 {
                truth = TrueEvent {
                    event_id,
                    x_mm: vertex[0],
                    y_mm: vertex[1],
                    z_mm: vertex[2],
                    time_ns,
                    energy_mev,
                };
            }
            for (point, deposited_mev) in deposits {
                self.emit(
                    point,
                    deposited_mev,
                    time_ns,
                    &mut photons,
                    &mut photoelectrons,
                );
            }
        }
        if plan.dark {
            self.add_dark(event_id, &mut photoelectrons);
        }
        let window_ns = readout.window_ns();
        let sensors = plan.detector.sensors().map(|one| one.all());
        let sensors = sensors.unwrap_or_default();
        let mut photoelectrons: Vec<Photoelectron> = photoelectrons
            .into_iter()
            .filter(|(_, time_ns, _)| (0.0..window_ns).contains(time_ns))
            .map(|(sensor, time_ns, charge_pe)| Photoelectron {
                event_id,
                channel_id: sensors[sensor].channel_id,
                time_ns,
                charge_pe,
            })
            .collect();
        photoelectrons.sort_by(|a, b| {
            a.channel_id
                .cmp(&b.channel_id)
                .then(a.time_ns.total_cmp(&b.time_ns))
        });
        SimulatedEvent {
            truth,
            photoelectrons,
        }
    }

    /// Emits the light of one deposit and appends its photoelectrons: sensor, time, charge.
    fn emit(
        &self,
        vertex: Vector,
        deposited_mev: f64,
        time_ns: f64,
        rng: &mut ChaCha8Rng,
        photoelectrons: &mut Vec<(usize, f64, f32)>,
    ) {
        let detector = &self.plan.detector;
        let medium = detector.medium.as_ref();
        let curve = medium.and_then(|medium| medium.nonlinearity);
        let visible_mev = curve.map_or(deposited_mev, |curve| curve.visible_mev(deposited_mev));
        let Ok(number) = Poisson::new(self.photons_per_mev * visible_mev) else {
            return;
        };
        for _ in 0..number.sample(rng) as u64 {
            let Some(photon) = self.optics.propagate(vertex, rng) else {
                continue;
            };
            let own = self.constants[photon.sensor];
            let chance = photon.efficiency * own.efficiency / self.max_efficiency;
            if rng.random::<f64>() >= chance {
                continue;
            }
            let kind = self.type_index_of(photon.sensor);
            let jitter: f64 = StandardNormal.sample(rng);
            let delay_ns = detector.pmt_types[kind].transit_time_sigma_ns * jitter;
            let emitted_ns = super::profile::draw_decay_ns(&detector.scintillation, rng);
            let charge_pe = self.charges[kind].draw_pe(rng) as f32;
            photoelectrons.push((
                photon.sensor,
                time_ns + emitted_ns + photon.flight_ns + delay_ns + own.time_offset_ns,
                charge_pe,
            ));
        }
    }

    fn type_index_of(&self, sensor: usize) -> usize {
        let sensors = self.plan.detector.sensors();
        sensors.map_or(0, |sensors| sensors.all()[sensor].type_index)
    }

    fn add_dark(&self, event_id: u64, photoelectrons: &mut Vec<(usize, f64, f32)>) {
        let window_ns = self.plan.detector.readout.window_ns();
        let types = self.plan.detector.pmt_types.iter().zip(&self.members);
        for (kind, (pmt, members)) in types.enumerate() {
            let mean = pmt.dark_rate_hz * 1e-9 * window_ns * members.len() as f64;
            let Ok(number) = Poisson::new(mean) else {
                continue;
            };
            let mut rng = stream(self.plan.seed, event_id, kind as u32, Purpose::Dark);
            for _ in 0..number.sample(&mut rng) as u64 {
                let sensor = members[rng.random_range(0..members.len())] as usize;
                let time_ns = window_ns * rng.random::<f64>();
                photoelectrons.push((sensor, time_ns, self.charges[kind].draw_pe(&mut rng) as f32));
            }
        }
    }
}

impl Iterator for EventGenerator<'_> {
    type Item = Vec<SimulatedEvent>;

    fn next(&mut self) -> Option<Vec<SimulatedEvent>> {
        let upto = (self.next + BLOCK_EVENTS).min(self.plan.n_events());
        if self.next >= upto {
            return None;
        }
        let block = in_pool(|| {
            (self.next..upto)
                .into_par_iter()
                .map(|number| self.make(number))
                .collect()
        });
        self.next = upto;
        Some(block)
    }
}

impl SimulatedEvent {
    /// Returns the hits that `finder` makes of the photoelectrons. Hits outside the window, which ends at `window_ns`, are
    /// dropped.
    #[must_use]
    pub fn hits(&self, finder: &HitFinder, seed: u64, window_ns: f64) -> EventHits {
        let mut rng = stream(seed, self.truth.event_id, u32::MAX, Purpose::HitNoise);
        let mut hits: Vec<ChannelHit> = Vec::new();
        for channel in self
            .photoelectrons
            .chunk_by(|a, b| a.channel_id == b.channel_id)
        {
            finder.find(channel, &mut rng, &mut hits);
        }
        hits.retain(|hit| (0.0..window_ns).contains(&hit.time_ns));
        EventHits {
            event_id: self.truth.event_id,
            hits,
        }
    }
}
