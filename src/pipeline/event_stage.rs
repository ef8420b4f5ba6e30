//! The last stage of a pass: whether events are reconstructed, how, and from which hits.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cancel::CancelToken;
use super::event_builder::EventBuilder;
use super::events::run_events;
use super::observer::{Notice, Observer};
use super::outcome::EventsOutcome;
use super::plan::Unit;
use super::report::{EventsPlan, LightMaps};
use super::settings::PassSettings;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::event::{EventReconstructor, LightModel};
use crate::io::tables::events::EventsWriter;
use crate::io::tables::{Part, folder_checksum};
use crate::io::{self, hits};

/// The reconstruction of events, if there is any.
pub struct EventStage {
    /// The plan, as the report states it.
    pub plan: EventsPlan,
    reconstructor: Option<EventReconstructor>,
}

impl EventStage {
    /// Plans events where the detector has a geometry and the settings do not exclude them.
    ///
    /// # Errors
    /// If the light maps cannot be read, or do not fit the detector or the method.
    pub fn new(settings: &PassSettings, detector: Option<&Detector>) -> Result<Self> {
        let absent = |reason: String| Self {
            plan: EventsPlan::Absent(reason),
            reconstructor: None,
        };
        if !settings.events {
            return Ok(absent("the settings exclude events".to_owned()));
        }
        match detector {
            None => Ok(absent(
                "no detector was given, and so there is no geometry".to_owned(),
            )),
            Some(detector) if detector.sensors().is_none() => Ok(absent(format!(
                "the detector `{}` has no geometry",
                detector.name
            ))),
            Some(detector) => Self::with_geometry(settings, detector),
        }
    }

    /// Plans events of `detector`, which must have a geometry.
    ///
    /// # Errors
    /// If it has none, or the light maps cannot be read, or do not fit the detector or the method.
    pub fn with_geometry(settings: &PassSettings, detector: &Detector) -> Result<Self> {
        let method = settings.event_method();
        let light_maps = settings.light_maps.as_deref();
        // A detector without a geometry is refused before its maps are read.
        let geometry_crc32c = detector
            .sensors()
            .map_or_else(String::new, |sensors| format!("{:08x}", sensors.crc32c()));
        let maps = match (light_maps, detector.sensors()) {
            (Some(dir), Some(sensors)) => {
                let tables = io::light_maps::read(dir, detector)?;
                let model = LightModel::new(tables, Arc::clone(sensors));
                Some(model.map_err(|error| error.in_file(dir))?)
            }
            _ => None,
        };
        let reconstructor = EventReconstructor::new(detector, maps, method)?;
        let light_maps = light_maps
            .map(|dir| {
                let (_, crc32c) = folder_checksum(dir)
                    .map_err(|error| Error::input(dir, "cannot be read").with_source(error))?;
                let dir = dir.display().to_string();
                Ok(LightMaps { dir, crc32c })
            })
            .transpose()?;
        Ok(Self {
            plan: EventsPlan::Present {
                method,
                light_maps,
                geometry_crc32c,
            },
            reconstructor: Some(reconstructor),
        })
    }

    /// Returns how events are reconstructed, if they are.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        let EventsPlan::Present {
            method, light_maps, ..
        } = &self.plan
        else {
            return None;
        };
        Some(Notice::Events {
            method: *method,
            light_maps: light_maps.as_ref().map(|maps| maps.dir.clone()),
        })
    }

    /// Returns the reconstructor, or the reason why there are no events.
    ///
    /// # Errors
    /// The reason.
    pub fn into_reconstructor(self) -> std::result::Result<Arc<EventReconstructor>, String> {
        match (self.reconstructor, self.plan) {
            (Some(reconstructor), _) => Ok(Arc::new(reconstructor)),
            (None, EventsPlan::Absent(reason)) => Err(reason),
            (None, EventsPlan::Present { .. }) => {
                Err("no detector geometry, so no events".to_owned())
            }
        }
    }

    /// Returns true if events are reconstructed.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.reconstructor.is_some()
    }

    /// Reconstructs the events of `input` (its number in the source) whose hits begin in `positions` into the part of `unit`
    /// of the table in `folder`.
    pub(super) fn run(
        &self,
        events: &mut EventBuilder,
        (input, positions): (u32, &Range<u64>),
        folder: &Path,
        unit: Unit,
        observer: &dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Option<EventsOutcome>> {
        let Some(reconstructor) = &self.reconstructor else {
            return Ok(None);
        };
        let writer = EventsWriter::create(folder, &unit, unit.input_id)?;
        let of_unit = (input, positions);
        run_events(events, of_unit, reconstructor, writer, observer, cancel).map(Some)
    }

    /// Reconstructs the events of `unit` from the tables that were just written into `folder`.
    pub(super) fn run_on_parts(
        &self,
        folder: &Path,
        parts: &[Part],
        unit: Unit,
        observer: &dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Option<EventsOutcome>> {
        let [hits, waveforms] = parts else {
            return Err(Error::internal("a unit of waveforms must have two parts"));
        };
        if self.reconstructor.is_none() {
            return Ok(None);
        }
        let (hits, waveforms) = (folder.join(&hits.path), folder.join(&waveforms.path));
        // If files written a moment ago cannot be read, the cause is the system.
        let source =
            hits::open_tables(&hits, &hits, Some(&waveforms)).map_err(Error::into_retryable)?;
        let mut events = EventBuilder::new(&source).map_err(Error::into_retryable)?;
        let all = (unit.input_id, &(0..u64::MAX));
        match self.run(&mut events, all, folder, unit, observer, cancel)? {
            Some(EventsOutcome {
                cut: Some(error), ..
            }) => Err(error.into_retryable()),
            other => Ok(other),
        }
    }
}
