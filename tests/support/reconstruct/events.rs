//! The table of events as a user reads it, and tables of hits to make it from.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, Float32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::DataType;
use nuwave::model::Flags;
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::table;

/// A row of `DIR/events`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRow {
    pub input_id: u32,
    pub event_id: u64,
    /// `x_mm` to `charge_pe`, in the order of the columns.
    pub measured: [f64; 11],
    pub n_channels_hit: u32,
    pub fit_quality: f64,
    pub flags: Flags,
}

const MEASURED: [&str; 11] = [
    "x_mm",
    "y_mm",
    "z_mm",
    "time_ns",
    "energy_mev",
    "x_sigma_mm",
    "y_sigma_mm",
    "z_sigma_mm",
    "time_sigma_ns",
    "energy_sigma_mev",
    "charge_pe",
];

impl EventRow {
    pub fn position_mm(&self) -> [f64; 3] {
        [self.measured[0], self.measured[1], self.measured[2]]
    }

    pub fn time_ns(&self) -> f64 {
        self.measured[3]
    }

    pub fn charge_pe(&self) -> f64 {
        self.measured[10]
    }

    /// All bits, so that rows with NaN can be compared; without the input.
    pub fn bits(&self) -> (u64, Vec<u64>, u32, Flags) {
        let floats = self.measured.iter().chain([&self.fit_quality]);
        (
            self.event_id,
            floats.map(|value| value.to_bits()).collect(),
            self.n_channels_hit,
            self.flags,
        )
    }
}

/// Reads `folder`, a table of events, and asserts what holds of every one: columns, ascending order, each event once,
/// no number missing without a flag.
#[track_caller]
pub fn events(folder: &Path) -> Vec<EventRow> {
    let mut columns = vec![
        ("input_id", DataType::UInt32, false),
        ("event_id", DataType::UInt64, false),
    ];
    columns.extend(MEASURED.map(|name| (name, DataType::Float64, false)));
    columns.extend([
        ("n_channels_hit", DataType::UInt32, false),
        ("fit_quality", DataType::Float64, false),
        ("flags", DataType::UInt32, false),
    ]);
    let row = |batch: &RecordBatch, k: usize| {
        let count = |column: usize| batch.column(column).as_primitive::<UInt32Type>().value(k);
        let float = |column: usize| batch.column(column).as_primitive::<Float64Type>().value(k);
        EventRow {
            input_id: count(0),
            event_id: batch.column(1).as_primitive::<UInt64Type>().value(k),
            measured: std::array::from_fn(|place| float(2 + place)),
            n_channels_hit: count(13),
            fit_quality: float(14),
            flags: Flags(count(15)),
        }
    };
    let rows: Vec<_> = table(folder, &columns)
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |k| row(batch, k)))
        .collect();
    assert!(
        rows.is_sorted_by(|a, b| (a.input_id, a.event_id) < (b.input_id, b.event_id)),
        "events are not in order, or twice"
    );
    for row in &rows {
        let whole = row.measured.iter().all(|value| value.is_finite());
        assert!(whole || row.flags != Flags::NONE, "{row:?}");
        assert!(row.charge_pe().is_finite(), "{row:?}");
    }
    rows
}

/// Asserts that the report counts those events.
#[track_caller]
pub fn report_counts(report: &Value, rows: &[EventRow]) {
    let events = &report["events"];
    assert_eq!(events["status"], "present");
    assert_eq!(events["events"], rows.len());
    let flagged = |flag: Flags| rows.iter().filter(|row| row.flags.contains(flag)).count();
    for (flag, name, _) in Flags::ALL {
        let counted = events["flags"][name].as_u64().unwrap_or(0);
        assert_eq!(counted, flagged(flag) as u64, "{name}");
    }
    assert_eq!(events["not_converged"], flagged(Flags::NOT_CONVERGED));
    for input in report["inputs"].as_array().expect("a list") {
        let mine = rows.iter().filter(|row| input["input_id"] == row.input_id);
        assert_eq!(input["events"], mine.count());
    }
}

/// A hit: event, channel, time, charge.
pub type Hit = (u64, u32, f32, f32);

/// Writes a table of hits.
pub fn write_hits(path: &Path, hits: &[Hit]) {
    let floats = |of: fn(&Hit) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(hits.iter().map(of)))
    };
    let event = UInt64Array::from_iter_values(hits.iter().map(|hit| hit.0));
    let channel = UInt32Array::from_iter_values(hits.iter().map(|hit| hit.1));
    write_columns(
        path,
        vec![
            ("event_id", Arc::new(event)),
            ("channel_id", Arc::new(channel)),
            ("time_ns", floats(|hit| hit.2)),
            ("charge_pe", floats(|hit| hit.3)),
        ],
    );
}

/// Writes a Parquet table; a column may have nulls.
pub fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let file = File::create(path).expect("room on the disk");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(&rows).expect("room on the disk");
    writer.close().expect("room on the disk");
}
