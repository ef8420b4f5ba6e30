//! The columns of the output tables: name, type, unit and meaning, once for all writers. The schemas are made of them, with
//! unit and meaning as field metadata, and so is the documentation.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// One column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type of its values.
    pub data_type: DataType,
    /// Unit; empty where there is none.
    pub unit: &'static str,
    /// When a value is missing: `null` or NaN; empty if it never is.
    pub missing: &'static str,
    /// Meaning.
    pub description: &'static str,
}

impl Column {
    /// Returns true if values can be null. Quantities that could not be determined may also be NaN.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.missing.starts_with("null")
    }
}

const fn column(
    name: &'static str,
    data_type: DataType,
    unit: &'static str,
    missing: &'static str,
    description: &'static str,
) -> Column {
    Column {
        name,
        data_type,
        unit,
        missing,
        description,
    }
}

const INPUT_ID: Column = column(
    "input_id",
    DataType::UInt32,
    "",
    "",
    "index of the input in `inputs` of report.json; not in responses of the service",
);
const EVENT_ID: Column = column(
    "event_id",
    DataType::UInt64,
    "",
    "",
    "event number of the input; numbers may repeat between inputs, so group by input_id and event_id",
);
const CHANNEL_ID: Column = column(
    "channel_id",
    DataType::UInt32,
    "",
    "",
    "channel (PMT) number of the input",
);
const FLAGS: Column = column(
    "flags",
    DataType::UInt32,
    "",
    "",
    "bit mask, 0 without a flag; `nuwave flags VALUE` explains a value",
);

/// The columns of the `hits` table, one row per hit.
pub static HITS: [Column; 8] = [
    INPUT_ID,
    EVENT_ID,
    CHANNEL_ID,
    column(
        "time_ns",
        DataType::Float64,
        "ns",
        "",
        "time of the photoelectron: start of the window in the input (0 if it states none) plus the position in the window, \
         minus the time offset of the channel; see \"time zero\" in the documentation",
    ),
    column(
        "charge_pe",
        DataType::Float32,
        "PE",
        "",
        "charge; 1 is the charge of the channel's template, which is the mean of a single photoelectron except for PMTs with a charge tail",
    ),
    column(
        "charge_sigma_pe",
        DataType::Float32,
        "PE",
        "null in tables that `simulate events` writes",
        "standard deviation of charge_pe from noise and baseline, without the charge spread of single photoelectrons",
    ),
    column(
        "time_sigma_ns",
        DataType::Float32,
        "ns",
        "null without a template fit",
        "standard deviation of time_ns from the noise, without the transit-time spread of the PMT",
    ),
    FLAGS,
];

/// The columns of the `waveforms` table, one row per waveform, also without hits.
pub static WAVEFORMS: [Column; 10] = [
    INPUT_ID,
    EVENT_ID,
    CHANNEL_ID,
    column(
        "charge_pe",
        DataType::Float32,
        "PE",
        "NaN if nothing was reconstructed",
        "sum of the charges of the hits",
    ),
    column(
        "first_time_ns",
        DataType::Float64,
        "ns",
        "null without a hit",
        "time of the earliest hit, as time_ns in `hits`",
    ),
    column("n_hits", DataType::UInt32, "", "", "number of hits"),
    column(
        "baseline_adc",
        DataType::Float32,
        "ADC counts",
        "NaN if nothing was reconstructed",
        "baseline as recorded (not inverted for negative pulses)",
    ),
    column(
        "noise_adc",
        DataType::Float32,
        "ADC counts",
        "NaN if nothing was reconstructed",
        "standard deviation of one sample without light",
    ),
    column(
        "chi2_ndf",
        DataType::Float32,
        "",
        "null if no template was fitted",
        "chi-square per degree of freedom of the template fit",
    ),
    FLAGS,
];

/// The columns of the `events` table, one row per event.
pub static EVENTS: [Column; 16] = [
    INPUT_ID,
    EVENT_ID,
    column("x_mm", DataType::Float64, "mm", "NaN", VERTEX),
    column("y_mm", DataType::Float64, "mm", "NaN", VERTEX),
    column("z_mm", DataType::Float64, "mm", "NaN", VERTEX),
    column(
        "time_ns",
        DataType::Float64,
        "ns",
        "NaN",
        "time of the energy deposit, on the time axis of the hits, up to a constant offset that is defined by the times of the sources of the light maps",
    ),
    column(
        "energy_mev",
        DataType::Float64,
        "MeV",
        "NaN",
        "deposited energy; without light maps a rough value from the charge, or NaN if the detector file states no light_pe_per_mev",
    ),
    column("x_sigma_mm", DataType::Float64, "mm", "NaN", CURVATURE),
    column("y_sigma_mm", DataType::Float64, "mm", "NaN", CURVATURE),
    column("z_sigma_mm", DataType::Float64, "mm", "NaN", CURVATURE),
    column("time_sigma_ns", DataType::Float64, "ns", "NaN", CURVATURE),
    column(
        "energy_sigma_mev",
        DataType::Float64,
        "MeV",
        "NaN",
        CURVATURE,
    ),
    column(
        "charge_pe",
        DataType::Float64,
        "PE",
        "",
        "sum of the charges of the hits that were used, dark noise included",
    ),
    column(
        "n_channels_hit",
        DataType::UInt32,
        "",
        "",
        "channels with a hit that was used",
    ),
    column(
        "fit_quality",
        DataType::Float64,
        "",
        "NaN without a fit",
        "-2 ln L of the fit divided by the number of hits minus the 5 fitted parameters. L is a product of densities, so the value is not a chi-square: \
         compare it with that of events of similar energy",
    ),
    FLAGS,
];

const VERTEX: &str = "vertex, in the coordinates of the detector's geometry";
const CURVATURE: &str = "standard deviation from the curvature of the likelihood at its maximum; the methods without a fit state none";

/// Returns the Arrow schema of a table. Each field has its meaning and its unit as metadata, under `description` and `unit`.
#[must_use]
pub fn schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| {
        let mut metadata =
            HashMap::from([("description".to_owned(), column.description.to_owned())]);
        if !column.unit.is_empty() {
            metadata.insert("unit".to_owned(), column.unit.to_owned());
        }
        Field::new(column.name, column.data_type.clone(), column.is_nullable())
            .with_metadata(metadata)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}
