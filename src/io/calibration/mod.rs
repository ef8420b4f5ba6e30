//! The calibration file: Parquet, one row per channel. The row with a null channel is the default of all others.
//!
//! | column | type | unit | if it is missing or null |
//! |---|---|---|---|
//! | `channel_id` | u32 | | null: the default of all channels without a row |
//! | `template_adc` | list of f32 | ADC counts | an error |
//! | `noise_adc` | f32 | ADC counts | 0: measured in every waveform |
//! | `time_offset_ns` | f32 | ns | 0 |
//! | `dark_rate_hz` | f32 | Hz | 0 |
//! | `charge_sigma_pe` | f32 | mean single-PE charge | 0.3 |
//! | `time_sigma_ns` | f32 | ns | 0: not known |
//! | `sampling_ns` | f32 | ns | 1 |
//! | `flags` | u32 | | 0 |
//! | `polarity` | text | | not known; `negative` or `positive`, the same in all rows |
//! | `baseline_noise_ratio` | f32 | | 1: white noise |
//!
//! How a row was measured, in columns from which nothing is reconstructed; each may be missing or null: `run` (`led` or `dark`),
//! `n_waveforms`, `n_left_out`, `n_pulses`, `degrees_of_freedom` (u64), and as f32 `mean_pe`, `mean_pe_error`, `gain_adc_samples`,
//! `gain_error_adc_samples`, `charge_sigma_error_pe`, `noise_error_adc`, `peak_error_adc`, `time_offset_error_ns`,
//! `dark_rate_error_hz`, `chi2`.
//!
//! All integer types and both float types are accepted, so that files from pandas or polars can be read as they are. Other
//! columns are ignored.

mod read;
mod write;

pub use read::read;
pub use write::write;

/// Single-PE charge spread if the file does not state it: that of a dynode PMT.
pub const DEFAULT_CHARGE_SIGMA_PE: f32 = 0.3;
/// Sampling interval if the file does not state it.
pub const DEFAULT_SAMPLING_NS: f32 = 1.0;

const FLOAT_COLUMNS: [&str; 6] = [
    "noise_adc",
    "time_offset_ns",
    "dark_rate_hz",
    "charge_sigma_pe",
    "time_sigma_ns",
    "sampling_ns",
];
/// Measured numbers with errors, in the order of the file; see [`SpeMeasurement`](crate::model::SpeMeasurement).
const MEASURED_COLUMNS: [&str; 10] = [
    "mean_pe",
    "mean_pe_error",
    "gain_adc_samples",
    "gain_error_adc_samples",
    "charge_sigma_error_pe",
    "noise_error_adc",
    "peak_error_adc",
    "time_offset_error_ns",
    "dark_rate_error_hz",
    "chi2",
];
/// Numbers of things, in the order of the file.
const COUNT_COLUMNS: [&str; 4] = [
    "n_waveforms",
    "n_left_out",
    "n_pulses",
    "degrees_of_freedom",
];
const RATIO_COLUMN: &str = "baseline_noise_ratio";
const RUN_COLUMN: &str = "run";

const FORMAT_HINT: &str = "a calibration is a Parquet file with the columns `channel_id` and `template_adc` \
    (list of floats), as `nuwave calibrate spe` writes it";

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::types::Float32Type;
    use arrow_array::{
        ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::model::{Calibration, ChannelCalibration, Flags, Polarity, RunKind, SpeMeasurement};

    fn row(peak_adc: f32) -> ChannelCalibration {
        ChannelCalibration {
            template_adc: vec![0.0, peak_adc, 2.5, -1.25],
            noise_adc: 3.5,
            time_offset_ns: -4.25,
            dark_rate_hz: 24e3,
            charge_sigma_pe: 0.31,
            time_sigma_ns: 1.25,
            sampling_ns: 2.0,
            baseline_noise_ratio: 1.0,
            flags: Flags::TEMPLATE_FALLBACK,
            measurement: None,
        }
    }

    fn measurement() -> SpeMeasurement {
        SpeMeasurement {
            run: Some(RunKind::Dark),
            n_waveforms: 5_000_000_000,
            n_left_out: 12,
            n_pulses: 345,
            mean_pe: 0.25,
            mean_pe_error: 0.01,
            gain_adc_samples: 1234.5,
            gain_error_adc_samples: 2.5,
            charge_sigma_error_pe: 0.005,
            noise_error_adc: 0.003,
            peak_error_adc: 0.4,
            time_offset_error_ns: 0.02,
            dark_rate_error_hz: 150.0,
            chi2: 61.5,
            degrees_of_freedom: 58,
        }
    }

    fn file_of(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("columns are equally long");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut writer =
            ArrowWriter::try_new(file.reopen().expect("reopens"), batch.schema(), None)
                .expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        file
    }

    fn templates(rows: &[Option<&[f32]>]) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
            rows.iter()
                .map(|row| row.map(|row| row.iter().map(|&value| Some(value)))),
        ))
    }

    fn channels(ids: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(ids.to_vec()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut calibration = Calibration::new();
        let shared = calibration.add_row(row(10.0)).expect("valid");
        let own = calibration
            .add_row(ChannelCalibration {
                baseline_noise_ratio: 1.75,
                measurement: Some(measurement()),
                ..row(7.0)
            })
            .expect("valid");
        calibration.set_default(shared);
        calibration.assign(4_000_000_000, shared);
        calibration.assign(3, own);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spe.parquet");
        write(&path, &calibration, "nuwave calibrate spe x.h5").expect("written");
        let back = read(&path).expect("read");
        assert_eq!(back.polarity(), None);
        let row_of = |calibration: &Calibration, channel| {
            let (row, own) = calibration.row_of(channel).expect("a row");
            (calibration.rows()[row].clone(), own)
        };
        for channel in [3, 4_000_000_000, 5] {
            assert_eq!(row_of(&back, channel), row_of(&calibration, channel));
        }
        assert_eq!(back.rows().len(), 3);
        let files = std::fs::read_dir(folder.path()).expect("lists").count();
        assert_eq!(files, 1, "no temporary file is left");

        let metadata = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("opens"))
            .expect("Parquet");
        let pairs = metadata
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .expect("metadata");
        let command = pairs.iter().find(|pair| pair.key == "nuwave.command");
        assert_eq!(
            command.and_then(|pair| pair.value.as_deref()),
            Some("nuwave calibrate spe x.h5")
        );
    }

    #[test]
    fn the_direction_of_the_pulses_is_kept_and_must_be_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spe.parquet");
        for polarity in [Polarity::Negative, Polarity::Positive] {
            let mut calibration = Calibration::new();
            let place = calibration.add_row(row(10.0)).expect("valid");
            calibration.assign(1, place);
            calibration.set_polarity(polarity);
            write(&path, &calibration, "test").expect("written");
            assert_eq!(read(&path).expect("read").polarity(), Some(polarity));
        }
        let one: &[f32] = &[1.0];
        let of = |names: Vec<Option<&str>>| {
            let file = file_of(vec![
                ("channel_id", channels(&[Some(1), Some(2)])),
                ("template_adc", templates(&[Some(one), Some(one)])),
                ("polarity", Arc::new(StringArray::from(names))),
            ]);
            read(file.path()).map(|calibration| calibration.polarity())
        };
        assert_eq!(
            of(vec![None, Some("Positive")]).ok(),
            Some(Some(Polarity::Positive))
        );
        assert!(of(vec![Some("positive"), Some("negative")]).is_err());
        assert!(of(vec![Some("up"), None]).is_err());
    }

    #[test]
    fn two_columns_are_enough_and_nulls_are_defaults() {
        let file = file_of(vec![
            ("channel_id", channels(&[None, Some(8)])),
            (
                "template_adc",
                templates(&[Some(&[1.0]), Some(&[2.0, 1.0])]),
            ),
            (
                "noise_adc",
                Arc::new(Float64Array::from(vec![None, Some(4.0)])),
            ),
        ]);
        let calibration = read(file.path()).expect("read");
        let default_row = &calibration.rows()[calibration.default_row().expect("default")];
        assert_eq!(default_row.noise_adc, 0.0);
        assert_eq!(default_row.charge_sigma_pe, DEFAULT_CHARGE_SIGMA_PE);
        assert_eq!(default_row.sampling_ns, DEFAULT_SAMPLING_NS);
        assert_eq!(default_row.baseline_noise_ratio, 1.0);
        assert_eq!(default_row.measurement, None);
        let (row, own) = calibration.row_of(8).expect("channel 8");
        assert!(own);
        assert_eq!(calibration.rows()[row].noise_adc, 4.0);
        assert_eq!(calibration.rows()[row].template_adc, [2.0, 1.0]);
    }

    #[test]
    fn errors_name_file_row_and_column() {
        let one: &[f32] = &[1.0];
        let good = || templates(&[Some(one), Some(one)]);
        let cases = [
            (
                vec![("template_adc", good())],
                "no column `channel_id`; it has `template_adc`",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(1)])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: channel 1 has a row already",
            ),
            (
                vec![
                    ("channel_id", channels(&[None, None])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: the default (null) has a row already",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(-1)])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: -1",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(one), Some(&[])])),
                ],
                "row 1, column `template_adc`: the template is empty",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    (
                        "template_adc",
                        templates(&[Some(one), Some(&[1.0, f32::NAN])]),
                    ),
                ],
                "row 1, column `template_adc`: sample 1",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(one), None])),
                ],
                "row 1, column `template_adc`: the template is null",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(&[-1.0]), Some(one)])),
                ],
                "row 0: the template has no positive sample",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", Arc::new(StringArray::from(vec!["a", "b"]))),
                ],
                "row 0, column `template_adc`: the type is Utf8",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", good()),
                    ("noise_adc", Arc::new(Float32Array::from(vec![1.0, -2.0]))),
                ],
                "row 1, column `noise_adc`: -2 is not a finite number >= 0",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", good()),
                    ("sampling_ns", Arc::new(Float32Array::from(vec![1.0, 0.0]))),
                ],
                "row 1, column `sampling_ns`: 0 is not a finite number > 0",
            ),
        ];
        for (columns, expected) in cases {
            let file = file_of(columns);
            let error = read(file.path()).expect_err(expected);
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains(&file.path().display().to_string()));
            assert_eq!(error.kind(), crate::ErrorKind::Input);
            assert!(!error.hints().is_empty(), "{message}");
        }
    }

    #[test]
    fn a_noise_ratio_below_one_and_a_negative_count_are_refused() {
        let one: &[f32] = &[1.0];
        let columns = |name, column: ArrayRef| {
            vec![
                ("channel_id", channels(&[Some(1), Some(2)])),
                ("template_adc", templates(&[Some(one), Some(one)])),
                (name, column),
            ]
        };
        let ratio = Arc::new(Float32Array::from(vec![1.0, 0.5]));
        let count = Arc::new(Int64Array::from(vec![3, -4]));
        for (columns, expected) in [
            (
                columns("baseline_noise_ratio", ratio),
                "row 1, column `baseline_noise_ratio`: 0.5 is not a finite number >= 1",
            ),
            (
                columns("n_pulses", count),
                "row 1, column `n_pulses`: -4 is no count",
            ),
        ] {
            let error = read(file_of(columns).path()).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_calibration_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(read(file.path()).is_err(), "empty file");
        std::fs::write(file.path(), b"PAR1 is not enough PAR1").expect("written");
        assert!(read(file.path()).is_err(), "no Parquet");
        let none = file_of(vec![
            ("channel_id", channels(&[])),
            ("template_adc", templates(&[])),
        ]);
        let message = read(none.path()).expect_err("no row").to_string();
        assert!(message.contains("no row"), "{message}");
    }

    #[test]
    fn a_cut_or_mangled_file_is_an_error_and_no_panic() {
        let mut calibration = Calibration::new();
        let place = calibration.add_row(row(10.0)).expect("valid");
        calibration.assign(1, place);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spe.parquet");
        write(&path, &calibration, "test").expect("written");
        let whole = std::fs::read(&path).expect("read");
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert!(read(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_output_error() {
        let path = Path::new("no/such/folder/spe.parquet");
        let error = write(path, &Calibration::new(), "test").expect_err("no folder");
        assert_eq!(error.kind(), crate::ErrorKind::Output);
    }
}
