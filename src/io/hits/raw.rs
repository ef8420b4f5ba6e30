//! Rows of a table of hits as they are in the file, before their values are checked.

use super::names::Role;
use super::{EventKey, HitRow};
use crate::model::{ChannelHit, Flags};

/// A channel number that no geometry has, for rows whose number is null or out of range.
const NO_CHANNEL: u32 = u32::MAX;
/// Charge of a hit in a table without charges, where every row is a photoelectron.
const ONE_PE: f32 = 1.0;

/// Consecutive rows, column by column. A column that the table lacks is empty.
#[derive(Debug, Default)]
pub(crate) struct RawRows {
    /// The name of the file if there are several, for messages.
    pub file: Option<String>,
    /// Index of the first row in its file.
    pub first_row: u64,
    pub rows: usize,
    pub input: Vec<Option<i128>>,
    pub event: Vec<Option<i128>>,
    pub channel: Vec<Option<i128>>,
    pub flags: Vec<Option<i128>>,
    pub time: Vec<Option<f64>>,
    pub charge: Vec<Option<f64>>,
}

impl RawRows {
    /// Sets a column of integers.
    pub fn set_integers(&mut self, role: Role, values: Vec<Option<i128>>) {
        match role {
            Role::Input => self.input = values,
            Role::Event => self.event = values,
            Role::Channel => self.channel = values,
            Role::Flags => self.flags = values,
            Role::Time | Role::Charge => {}
        }
    }

    /// Sets a column of floats.
    pub fn set_floats(&mut self, role: Role, values: Vec<Option<f64>>) {
        match role {
            Role::Time => self.time = values,
            Role::Charge => self.charge = values,
            _ => {}
        }
    }

    /// Describes the position of row `row`, for messages.
    pub fn place(&self, row: usize) -> String {
        let row = self.first_row + row as u64;
        match &self.file {
            Some(file) => format!("{file}, row {row}"),
            None => format!("row {row}"),
        }
    }

    /// Returns the event of each row; `None` for a row without one.
    pub fn keys(&self) -> impl Iterator<Item = Option<EventKey>> + '_ {
        (0..self.rows).map(|row| {
            let input = if self.input.is_empty() {
                0
            } else {
                u32::try_from(at(&self.input, row)?).ok()?
            };
            Some((input, u64::try_from(at(&self.event, row)?).ok()?))
        })
    }

    /// Returns the hits of the rows that belong to an event. Missing values become NaN, or a channel number that no geometry has.
    pub fn hits(&self) -> impl Iterator<Item = HitRow> + '_ {
        self.keys().enumerate().filter_map(|(row, event)| {
            let charge_pe = if self.charge.is_empty() {
                ONE_PE
            } else {
                at(&self.charge, row).map_or(f32::NAN, |value| value as f32)
            };
            let hit = ChannelHit {
                channel_id: at(&self.channel, row)
                    .and_then(|channel| u32::try_from(channel).ok())
                    .unwrap_or(NO_CHANNEL),
                time_ns: at(&self.time, row).unwrap_or(f64::NAN),
                charge_pe,
                flags: at(&self.flags, row)
                    .and_then(|flags| u32::try_from(flags).ok())
                    .map_or(Flags::NONE, Flags),
            };
            Some(HitRow { event: event?, hit })
        })
    }
}

fn at<T: Copy>(column: &[Option<T>], row: usize) -> Option<T> {
    column.get(row).copied().flatten()
}
