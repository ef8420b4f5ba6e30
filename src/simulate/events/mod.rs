//! Events with truth: deposits of energy, their photons, photoelectrons of all channels, hits.

mod deposit;
mod grid;
mod hits;
mod photons;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson, StandardNormal};
use rayon::prelude::*;

pub use deposit::Particle;
pub use hits::HitFinder;

use super::charge::ChargeSpectrum;
use super::random::{Purpose, stream};
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::event::vector::{Vector, norm};
use crate::event::{ChannelHit, EventHits};
use crate::model::{Photoelectron, TrueEvent};
use deposit::draw_deposits;
use photons::Optics;

/// Events made at a time.
const BLOCK_EVENTS: u64 = 64;
/// Photons from the centre that the light yield is normalised with: 0.2 % where a quarter is seen.
const NORMALISATION_PHOTONS: u64 = 400_000;
/// No PMT is better than its type by more than this many standard deviations.
const BEST_SIGMAS: f64 = 4.0;
/// Most visible energy of an event.
const MOST_MEV: f64 = 1e4;

/// Where events are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vertex {
    /// All at one place.
    Fixed([f64; 3]),
    /// Evenly in the sphere of this radius.
    Within(f64),
}

/// How much energy events have.
#[derive(Clone, Debug, PartialEq)]
pub enum Energy {
    /// All the same.
    Fixed(f64),
    /// Evenly between two.
    Between(f64, f64),
    /// Any of these with these weights.
    Spectrum(Vec<(f64, f64)>),
}

/// Some events that are alike: a source at a place, or physics in the whole volume.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// Number of events.
    pub events: u64,
    /// Where they are.
    pub vertex: Vertex,
    /// How much energy they have.
    pub energy: Energy,
    /// What deposits it.
    pub particle: Particle,
}

/// What is to be simulated. The same plan gives the same events, whatever the number of threads.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPlan {
    /// The detector.
    pub detector: Detector,
    /// What fixes all random numbers of the events.
    pub seed: u64,
    /// What fixes the PMTs' own efficiencies and time offsets.
    pub detector_seed: u64,
    /// Number of the first event.
    pub first_event: u64,
    /// The events, source after source.
    pub sources: Vec<EventSource>,
    /// Half the width of the events' times round the trigger.
    pub time_spread_ns: f64,
    /// Dark photoelectrons, or none.
    pub dark: bool,
    /// A second event of the same kind this much later in every event.
    pub pile_up_ns: Option<f64>,
}

impl EventPlan {
    /// Number of events.
    #[must_use]
    pub fn n_events(&self) -> u64 {
        self.sources
            .iter()
            .fold(0, |sum, source| sum.saturating_add(source.events))
    }

    fn validate(&self) -> Result<()> {
        let wrong = |what: &str, found: String, expected: String| {
            Err(Error::usage(format!(
                "{what} is {found}, expected {expected}"
            )))
        };
        if self.n_events() == 0 {
            return Err(Error::usage("there is nothing to simulate: no event"));
        }
        let geometry = self.detector.geometry.as_ref();
        let radius_mm = geometry
            .and_then(|geometry| geometry.scintillator_radius_mm)
            .unwrap_or(0.0);
        for source in &self.sources {
            let place = match source.vertex {
                Vertex::Fixed(place) => norm(place),
                Vertex::Within(most) if most > 0.0 => most,
                Vertex::Within(_) => f64::INFINITY,
            };
            if place > radius_mm || place.is_nan() {
                return wrong(
                    "the place of events",
                    format!("{:?}", source.vertex),
                    format!("one in the scintillator, within {radius_mm} mm of the centre"),
                );
            }
            let energies: Vec<f64> = match &source.energy {
                Energy::Fixed(energy) => vec![*energy],
                Energy::Between(low, high) if low <= high => vec![*low, *high],
                Energy::Between(_, _) => vec![f64::NAN],
                Energy::Spectrum(rows) => {
                    if !rows.iter().any(|row| row.1 > 0.0)
                        || rows.iter().any(|row| !(row.1 >= 0.0 && row.1.is_finite()))
                    {
                        return wrong(
                            "a weight of the spectrum",
                            "negative, or all are 0".to_owned(),
                            "numbers >= 0, one of them larger".to_owned(),
                        );
                    }
                    rows.iter().map(|row| row.0).collect()
                }
            };
            if energies
                .iter()
                .any(|energy| !(0.0..=MOST_MEV).contains(energy))
            {
                return wrong(
                    "the energy in MeV",
                    format!("{:?}", source.energy),
                    format!("0 to {MOST_MEV}"),
                );
            }
        }
        if !(0.0..=1e6).contains(&self.time_spread_ns) {
            return wrong(
                "the spread of the events' times",
                self.time_spread_ns.to_string(),
                "0 to 1000000 ns".to_owned(),
            );
        }
        if let Some(gap_ns) = self.pile_up_ns
            && !(0.0..=1e9).contains(&gap_ns)
        {
            return wrong(
                "the gap to the second event",
                gap_ns.to_string(),
                "0 or more ns".to_owned(),
            );
        }
        Ok(())
    }
}

/// A channel's own constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelConstants {
    /// Efficiency relative to its type's.
    pub efficiency: f64,
    /// What its times are late by.
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
    /// The truth; of two in one, the first.
    pub truth: TrueEvent,
    /// Photoelectrons in the window, dark ones included, by channel and time.
    pub photoelectrons: Vec<Photoelectron>,
}

/// The events of a plan, block by block; memory does not grow with their number.
pub struct Events<'a> {
    plan: &'a EventPlan,
    optics: Optics,
    constants: Vec<ChannelConstants>,
    charges: Vec<ChargeSpectrum>,
    /// Channels of each type, as places among the sensors.
    members: Vec<Vec<u32>>,
    /// Photons tracked for 1 MeV of visible energy.
    photons_per_mev: f64,
    /// No photon's detection is more likely.
    most_efficiency: f64,
    next: u64,
}

/// The events of `plan`. Each block is made by the threads of rayon's current pool.
///
/// # Errors
/// If the detector lacks geometry or medium, or a value of the plan is out of range.
pub fn events(plan: &EventPlan) -> Result<Events<'_>> {
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
        for (place, sensor) in (0..).zip(sensors.all()) {
            members[sensor.type_index].push(place);
        }
    }
    let mut events = Events {
        plan,
        most_efficiency: optics.most_efficiency() * (1.0 + BEST_SIGMAS * spread),
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

impl Events<'_> {
    /// Photons to be tracked for 1 MeV: so many that the centre has the medium's light.
    fn normalisation(&self) -> Result<f64> {
        let strips = 100;
        let seen: Vec<f64> = (0..strips)
            .into_par_iter()
            .map(|strip| {
                let mut rng = stream(1, strip, 0, Purpose::Normalisation);
                (0..NORMALISATION_PHOTONS / strips)
                    .filter_map(|_| self.optics.follow([0.0; 3], &mut rng))
                    .map(|one| one.efficiency * self.constants[one.place].efficiency)
                    .sum()
            })
            .collect();
        let per_photon =
            seen.iter().sum::<f64>() / self.most_efficiency / NORMALISATION_PHOTONS as f64;
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
            let vertex = draw_vertex(source.vertex, &mut rng);
            let energy_mev = draw_energy(&source.energy, &mut rng);
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
            for (place, deposited_mev) in deposits {
                self.shine(
                    place,
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
            .map(|(place, time_ns, charge_pe)| Photoelectron {
                event_id,
                channel_id: sensors[place].channel_id,
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

    /// Photoelectrons of one deposit: place, time, charge.
    fn shine(
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
            let Some(arrived) = self.optics.follow(vertex, rng) else {
                continue;
            };
            let own = self.constants[arrived.place];
            let chance = arrived.efficiency * own.efficiency / self.most_efficiency;
            if rng.random::<f64>() >= chance {
                continue;
            }
            let kind = self.type_of(arrived.place);
            let jitter: f64 = StandardNormal.sample(rng);
            let late_ns = detector.pmt_types[kind].transit_time_sigma_ns * jitter;
            let emitted_ns = super::profile::draw_decay_ns(&detector.scintillation, rng);
            let charge_pe = self.charges[kind].draw_pe(rng) as f32;
            photoelectrons.push((
                arrived.place,
                time_ns + emitted_ns + arrived.flight_ns + late_ns + own.time_offset_ns,
                charge_pe,
            ));
        }
    }

    fn type_of(&self, place: usize) -> usize {
        let sensors = self.plan.detector.sensors();
        sensors.map_or(0, |sensors| sensors.all()[place].type_index)
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
                let place = members[rng.random_range(0..members.len())] as usize;
                let time_ns = window_ns * rng.random::<f64>();
                photoelectrons.push((place, time_ns, self.charges[kind].draw_pe(&mut rng) as f32));
            }
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Vec<SimulatedEvent>;

    fn next(&mut self) -> Option<Vec<SimulatedEvent>> {
        let upto = (self.next + BLOCK_EVENTS).min(self.plan.n_events());
        if self.next >= upto {
            return None;
        }
        let block = (self.next..upto)
            .into_par_iter()
            .map(|number| self.make(number))
            .collect();
        self.next = upto;
        Some(block)
    }
}

fn draw_vertex(vertex: Vertex, rng: &mut ChaCha8Rng) -> Vector {
    // The same numbers are drawn in both cases: what follows does not depend on it.
    let r = rng.random::<f64>().cbrt();
    let direction = photons::isotropic(rng);
    match vertex {
        Vertex::Fixed(place) => place,
        Vertex::Within(radius_mm) => direction.map(|x| x * r * radius_mm),
    }
}

fn draw_energy(energy: &Energy, rng: &mut ChaCha8Rng) -> f64 {
    let share = rng.random::<f64>();
    match energy {
        Energy::Fixed(energy_mev) => *energy_mev,
        Energy::Between(low, high) => low + share * (high - low),
        Energy::Spectrum(rows) => {
            let mut left = share * rows.iter().map(|row| row.1).sum::<f64>();
            for (energy_mev, weight) in rows {
                left -= weight;
                if left < 0.0 {
                    return *energy_mev;
                }
            }
            rows.last().map_or(0.0, |row| row.0)
        }
    }
}

impl SimulatedEvent {
    /// The hits that `finder` makes of the photoelectrons.
    #[must_use]
    pub fn hits(&self, finder: &HitFinder, seed: u64) -> EventHits {
        let mut rng = stream(seed, self.truth.event_id, u32::MAX, Purpose::HitNoise);
        let mut hits: Vec<ChannelHit> = Vec::new();
        for channel in self
            .photoelectrons
            .chunk_by(|a, b| a.channel_id == b.channel_id)
        {
            finder.find(channel, &mut rng, &mut hits);
        }
        EventHits {
            event_id: self.truth.event_id,
            hits,
        }
    }
}
