//! The part of the report about events: counts and method, or the reason why there are none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::EventMethod;
use crate::model::Flags;
use crate::pipeline::observer::event_method_name;
use crate::pipeline::record::UnitRecord;
use crate::text::thousands;

/// The plan for events.
#[derive(Clone, Debug)]
pub enum EventsPlan {
    /// No events, and the reason.
    Absent(String),
    /// Reconstruction.
    Present {
        /// The method.
        method: EventMethod,
        /// The light maps.
        light_maps: Option<LightMaps>,
        /// CRC32C of the positions of the PMTs.
        geometry_crc32c: String,
    },
}

/// A folder of light maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightMaps {
    /// The folder as given.
    pub dir: String,
    /// CRC32C of its contents.
    pub crc32c: String,
}

/// `events` in the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum EventsReport {
    /// There is no table of events.
    Absent {
        /// The reason.
        reason: String,
    },
    /// There is one.
    Present {
        /// Events in the table.
        events: u64,
        /// Events without any hit.
        without_hits: u64,
        /// Hits of all events.
        hits: u64,
        /// Events whose fit did not converge.
        not_converged: u64,
        /// Events by flag.
        flags: BTreeMap<String, u64>,
        /// The method.
        method: EventMethod,
        /// The light maps, where there were any.
        light_maps: Option<LightMaps>,
        /// CRC32C of the positions of the PMTs.
        geometry_crc32c: String,
    },
}

impl EventsReport {
    /// Returns the report of a run with this plan and these records.
    pub(super) fn new(plan: EventsPlan, records: &[UnitRecord]) -> Self {
        let (method, light_maps, geometry_crc32c) = match plan {
            EventsPlan::Absent(reason) => return Self::Absent { reason },
            EventsPlan::Present {
                method,
                light_maps,
                geometry_crc32c,
            } => (method, light_maps, geometry_crc32c),
        };
        let (mut all, mut empty, mut all_hits) = (0, 0, 0);
        let mut by_flag: BTreeMap<String, u64> = BTreeMap::new();
        for unit in records
            .iter()
            .filter_map(|record| record.done.events.as_ref())
        {
            all += unit.events;
            empty += unit.without_hits;
            all_hits += unit.hits;
            for (name, count) in &unit.flags {
                *by_flag.entry(name.clone()).or_default() += count;
            }
        }
        Self::Present {
            events: all,
            without_hits: empty,
            hits: all_hits,
            not_converged: Flags::NOT_CONVERGED
                .names()
                .next()
                .and_then(|name| by_flag.get(name).copied())
                .unwrap_or(0),
            flags: by_flag,
            method,
            light_maps,
            geometry_crc32c,
        }
    }

    /// Returns the plan of the run.
    #[must_use]
    pub fn plan(&self) -> EventsPlan {
        match self {
            Self::Absent { reason } => EventsPlan::Absent(reason.clone()),
            Self::Present {
                method,
                light_maps,
                geometry_crc32c,
                ..
            } => EventsPlan::Present {
                method: *method,
                light_maps: light_maps.clone(),
                geometry_crc32c: geometry_crc32c.clone(),
            },
        }
    }

    /// Returns the lines of the summary: one that begins with `events`, and one for each flag.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let (events, without_hits, flags, method, light_maps) = match self {
            Self::Absent { reason } => return vec![("events", format!("absent: {reason}"))],
            Self::Present {
                events,
                without_hits,
                flags,
                method,
                light_maps,
                ..
            } => (*events, *without_hits, flags, method, light_maps),
        };
        let maps = light_maps
            .as_ref()
            .map_or("no light maps".to_owned(), |maps| maps.dir.clone());
        let mut lines = vec![(
            "events",
            format!(
                "{} ({} without a hit), method {}, {maps}",
                thousands(events),
                thousands(without_hits),
                event_method_name(*method)
            ),
        )];
        for (name, count) in flags {
            let meaning = Flags::by_name(name).map_or("", |(_, meaning)| meaning);
            lines.push((
                "events with",
                format!("{} {name}: {meaning}", thousands(*count)),
            ));
        }
        lines
    }
}
