//! The tables of a reconstruction in memory, column by column.

use std::path::PathBuf;

use super::Flags;

/// Defines a table: a struct of columns of equal length, one of them `event_id`.
macro_rules! table {
    ($(#[$about:meta])* $name:ident { $($(#[$column_about:meta])* $column:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$column_about])* pub $column: Vec<$kind>,)*
        }

        impl $name {
            /// The names of the columns.
            pub(crate) const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];

            /// Returns the number of rows.
            #[must_use]
            pub fn len(&self) -> usize {
                self.event_id.len()
            }

            /// Returns true if there is no row.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.event_id.is_empty()
            }

            /// Appends the rows of `other`.
            pub fn append(&mut self, mut other: Self) {
                $(self.$column.append(&mut other.$column);)*
            }
        }
    };
}

table! {
    /// Rows of the `hits` table. All columns have the same length.
    HitTable {
        /// Index of the input in the report's list of inputs.
        input_id: u32,
        /// Event.
        event_id: u64,
        /// Channel.
        channel_id: u32,
        /// Time of the hit: start of its window plus the position in it.
        time_ns: f64,
        /// Charge.
        charge_pe: f32,
        /// Flags of the hit.
        flags: Flags,
    }
}

table! {
    /// Rows of the `waveforms` table. All columns have the same length.
    WaveformTable {
        /// Index of the input in the report's list of inputs.
        input_id: u32,
        /// Event.
        event_id: u64,
        /// Channel.
        channel_id: u32,
        /// Sum of the charges of the hits.
        charge_pe: f32,
        /// Time of the earliest hit; `None` if there is none.
        first_time_ns: Option<f64>,
        /// Number of hits.
        n_hits: u32,
        /// Baseline.
        baseline_adc: f32,
        /// Standard deviation of one sample without light.
        noise_adc: f32,
        /// Flags of the waveform.
        flags: Flags,
    }
}

/// A finished output of `reconstruct`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstruction {
    /// The folder.
    pub dir: PathBuf,
    /// The contents of `report.json`.
    pub report: serde_json::Value,
    /// All hits, in the order of the files.
    pub hits: HitTable,
    /// All waveforms, in the order of the files.
    pub waveforms: WaveformTable,
}
