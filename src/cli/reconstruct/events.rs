//! The last stage of `nuwave reconstruct`: whether there are events, how, and from which hits.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::settings::Settings;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::event::{LightModel, Reconstructor};
use crate::io::events::EventsWriter;
use crate::io::tables::{Part, folder_checksum};
use crate::io::{self, hit_source};
use crate::pipeline::{
    CancelToken, EventBuilder, EventsOutcome, EventsPlan, LightMaps, Progress, Unit, method_name,
    run_events,
};

/// What is done about events.
pub(crate) struct EventStage {
    pub plan: EventsPlan,
    reconstructor: Option<Reconstructor>,
}

impl EventStage {
    /// Events where the detector has a geometry and the user did not say no.
    pub fn choose(settings: &Settings, detector: Option<&Detector>) -> Result<Self> {
        let absent = |reason: String| Self {
            plan: EventsPlan::Absent(reason),
            reconstructor: None,
        };
        if settings.no_events == Some(true) {
            return Ok(absent("`--no-events` was given".to_owned()));
        }
        match detector {
            None => Ok(absent(
                "no detector was named, and so there is no geometry (`--detector`)".to_owned(),
            )),
            Some(detector) if detector.sensors().is_none() => Ok(absent(format!(
                "the detector `{}` has no geometry",
                detector.name
            ))),
            Some(detector) => Self::with_geometry(settings, detector),
        }
    }

    /// Events of `detector`, which has to have a geometry.
    pub fn with_geometry(settings: &Settings, detector: &Detector) -> Result<Self> {
        let method = settings.event_method();
        let light = settings.light_maps.as_deref();
        // A detector without a geometry is refused before its maps are read.
        let geometry_crc32c = detector
            .sensors()
            .map_or_else(String::new, |it| format!("{:08x}", it.crc32c()));
        let maps = match (light, detector.sensors()) {
            (Some(dir), Some(sensors)) => {
                let tables = io::light::read(dir, detector)?;
                let model = LightModel::new(tables, Arc::clone(sensors));
                Some(model.map_err(|error| error.in_file(dir))?)
            }
            _ => None,
        };
        let reconstructor = Reconstructor::new(detector, maps, method)?;
        let light = light
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
                light,
                geometry_crc32c,
            },
            reconstructor: Some(reconstructor),
        })
    }

    /// How events are reconstructed, where they are.
    pub fn line(&self) -> Option<String> {
        let EventsPlan::Present { method, light, .. } = &self.plan else {
            return None;
        };
        let name = method_name(*method);
        Some(match light {
            Some(maps) => format!("method for events: {name}, light maps `{}`", maps.dir),
            None => {
                format!(
                    "method for events: {name}, without light maps (`--light-maps DIR` gives some)"
                )
            }
        })
    }

    /// What makes events, or why nothing does.
    pub fn into_reconstructor(self) -> std::result::Result<Arc<Reconstructor>, String> {
        match (self.reconstructor, self.plan) {
            (Some(reconstructor), _) => Ok(Arc::new(reconstructor)),
            (None, EventsPlan::Absent(reason)) => Err(reason),
            (None, EventsPlan::Present { .. }) => Err("nothing makes them".to_owned()),
        }
    }

    /// True if events are made.
    pub fn is_wanted(&self) -> bool {
        self.reconstructor.is_some()
    }

    /// The events of `input`, its number in the source, whose hits begin in `positions`, into the part of `unit` of the table
    /// in `folder`.
    pub fn run(
        &self,
        events: &mut EventBuilder,
        (input, positions): (u32, &Range<u64>),
        folder: &Path,
        unit: Unit,
        progress: &Progress,
        cancel: &CancelToken,
    ) -> Result<Option<EventsOutcome>> {
        let Some(reconstructor) = &self.reconstructor else {
            return Ok(None);
        };
        let writer = EventsWriter::create(folder, &unit, unit.input_id)?;
        let of_unit = (input, positions);
        run_events(events, of_unit, reconstructor, writer, progress, cancel).map(Some)
    }

    /// The events of `unit`, from the tables that were just written into `folder`.
    pub fn of_parts(
        &self,
        folder: &Path,
        parts: &[Part],
        unit: Unit,
        progress: &Progress,
        cancel: &CancelToken,
    ) -> Result<Option<EventsOutcome>> {
        let [hits, waveforms] = parts else {
            return Err(Error::internal("a unit that has not become two parts"));
        };
        if self.reconstructor.is_none() {
            return Ok(None);
        }
        let (hits, waveforms) = (folder.join(&hits.path), folder.join(&waveforms.path));
        // What was written a moment ago cannot be read: that is the system's doing.
        let source = hit_source::of_tables(&hits, &hits, Some(&waveforms))
            .map_err(Error::to_be_tried_again)?;
        let mut events = EventBuilder::new(&source).map_err(Error::to_be_tried_again)?;
        let all = (unit.input_id, &(0..u64::MAX));
        match self.run(&mut events, all, folder, unit, progress, cancel)? {
            Some(EventsOutcome {
                cut: Some(error), ..
            }) => Err(error.to_be_tried_again()),
            other => Ok(other),
        }
    }
}
