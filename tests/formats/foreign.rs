//! Files that nuwave's own writers cannot make: links, codecs, number types and axes of other programs. `foreign/make.py` makes
//! them.

use std::path::{Path, PathBuf};

use crate::support::formats::{Read, Values, read_with};
use nuwave::ErrorKind;
use nuwave::io::{self, BatchLimit, ReadOptions, hits};

const ROWS: usize = 24;
const SAMPLES: usize = 40;

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/foreign");
    folder.join(name)
}

fn in_group(group: &str) -> ReadOptions {
    ReadOptions {
        table: (!group.is_empty()).then(|| group.to_owned()),
        ..ReadOptions::default()
    }
}

fn read(name: &str, group: &str) -> Read {
    read_with(&path(name), &in_group(group), BatchLimit::default())
        .unwrap_or_else(|error| panic!("{name} {group}: {}", error.reason()))
}

/// Returns the message and the hints of a file that is refused as a whole.
fn refusal(name: &str, group: &str) -> String {
    let error = io::open(&path(name), &in_group(group)).err();
    let error = error.unwrap_or_else(|| panic!("{name} {group} can be opened"));
    assert_eq!(error.kind(), ErrorKind::Input);
    let text = format!("{} {:?}", error.reason(), error.hints());
    assert!(
        !text.contains("cut off") && !text.contains("damaged"),
        "{text}"
    );
    text
}

fn counts(row: usize) -> Vec<u16> {
    let first = row * SAMPLES;
    (first..first + SAMPLES)
        .map(|k| (k * 31 % 5000) as u16)
        .collect()
}

/// Asserts that all rows are there with their numbers, and the samples that `expected` makes of the counts.
fn assert_rows(read: &Read, expected: impl Fn(Vec<u16>) -> Values) {
    assert!(read.losses.is_empty(), "{:?}", read.losses);
    assert_eq!(read.waveforms.len(), ROWS);
    for (row, waveform) in read.waveforms.iter().enumerate() {
        assert_eq!(waveform.event_id, 100 + row as u64);
        assert_eq!(waveform.channel_id, row as u32 % 3);
        assert_eq!(waveform.samples, expected(counts(row)), "row {row}");
    }
}

fn as_floats(counts: &[u16], value: impl Fn(u16) -> f32) -> Values {
    Values::F32(counts.iter().map(|&count| value(count)).collect())
}

#[test]
fn soft_links_are_followed_in_old_and_new_groups() {
    for name in ["links_old.h5", "links_new.h5"] {
        assert_rows(&read(name, ""), Values::U16);
    }
    // A link to the group names it as well.
    assert_rows(&read("links_old.h5", "latest"), Values::U16);
    assert_rows(&read("links_old.h5", "/latest/samples"), Values::U16);
}

#[test]
fn events_behind_a_link_that_leads_nowhere_are_not_replaced_by_row_numbers() {
    let text = refusal("links_broken.h5", "");
    assert!(
        text.contains("`/event_id`") && text.contains("`/daq/event_id`"),
        "{text}"
    );
}

#[test]
fn numbers_behind_a_link_to_another_file_are_not_replaced_by_others() {
    for (group, name) in [
        ("event_id", "event_id"),
        ("channel_id", "channel_id"),
        ("start_ns", "start_ns"),
        ("many", "event_id"),
    ] {
        let text = refusal("links_external.h5", group);
        for part in [
            format!("`/{group}/{name}`"),
            format!("`/daq/{name}` in the file `ids.h5`"),
            "does not follow links to other files".to_owned(),
        ] {
            assert!(text.contains(&part), "{group}: {text}");
        }
    }
    // Without the charges every hit would count one photoelectron.
    let opened = hits::open(&path("links_external.h5"), &in_group("hits"));
    let error = opened.err().expect("charges in another file");
    let text = error.reason();
    assert!(
        text.contains("`/hits/charge_pe`") && text.contains("`charges.h5`"),
        "{text}"
    );
}

#[test]
fn a_file_of_links_to_other_files_is_refused_with_these() {
    let text = refusal("links_master.h5", "");
    for part in [
        "`/run1` to `/raw` in the file `a.h5`",
        "`/run2` to `/raw` in the file `b.h5`",
        "give `a.h5`, `b.h5` themselves",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_group_under_two_names_is_read_once() {
    for group in ["", "run7", "latest"] {
        assert_rows(&read("links_hard.h5", group), Values::U16);
    }
}

#[test]
fn version_5_of_the_layout_is_read() {
    for group in ["single", "fixed", "extensible"] {
        assert_rows(&read("layout5.h5", group), Values::U16);
    }
    let text = refusal("layout5.h5", "tree");
    assert!(
        text.contains("B-tree") && text.contains("h5repack"),
        "{text}"
    );
}

#[test]
fn chunks_of_plugin_filters_are_decoded() {
    for group in [
        "lz4",
        "zstandard",
        "bitshuffle",
        "bitshuffle_lz4",
        "bitshuffle_zstandard",
        "blosc_blosclz",
        "blosc_lz4_bits",
        "blosc_snappy",
        "blosc_zlib",
        "blosc_zstd",
        "shuffle_zstandard_checked",
    ] {
        assert_rows(&read("codecs.h5", group), Values::U16);
    }
}

#[test]
fn what_cannot_be_read_is_refused_when_it_is_opened_with_its_name() {
    for (group, words) in [
        ("szip", &["szip", "h5repack -f GZIP=1"] as &[&str]),
        ("blosc2", &["Blosc2", "h5repack", "HDF5_PLUGIN_PATH"]),
        ("bzip2", &["bzip2", "h5repack"]),
        ("virtual", &["virtual dataset"]),
        ("external", &["external storage"]),
        (
            "bfloat16",
            &["floating-point numbers of 2 bytes with 8 bits of exponent"],
        ),
        ("rows", &["variable-length rows of u16"]),
        ("gains", &["`waveform`", "2 x 40", "reshape(-1, 40)"]),
        ("pairs", &["2 x 40", "reshape(-1, 40)"]),
        ("both", &["12 x 2 x 40", "channel_id"]),
    ] {
        let text = refusal("unread.h5", group);
        for word in words {
            assert!(text.contains(word), "{group}: {text}");
        }
    }
    let text = refusal("brotli.parquet", "");
    assert!(
        text.contains("Brotli") && text.contains("pyarrow"),
        "{text}"
    );
}

#[test]
fn the_mark_of_a_writer_that_was_killed_is_named_with_h5clear() {
    let text = refusal("marked.h5", "");
    assert!(
        text.contains("h5clear -s") && !text.contains("::"),
        "{text}"
    );
}

#[test]
fn unusual_number_types_have_their_values() {
    let quarter =
        |counts: Vec<u16>| as_floats(&counts, |count| round_to_half(f32::from(count) / 4.0));
    assert_rows(&read("types.h5", "half"), quarter);
    let signed = |counts: Vec<u16>| as_floats(&counts, f32::from);
    assert_rows(&read("types.h5", "enumeration"), signed);
    assert_rows(&read("types.h5", "fourteen"), Values::U16);
    let shifted = |counts: Vec<u16>| as_floats(&counts, |count| f32::from(count % 4096) - 2048.0);
    assert_rows(&read("types.h5", "shifted"), shifted);
}

/// Rounds to the 11 significant bits of a half float, ties to even.
fn round_to_half(value: f32) -> f32 {
    let spacing = 2_f32.powi((value.max(1.0).log2().floor() as i32) - 10);
    (value / spacing).round_ties_even() * spacing
}

#[test]
fn arrays_of_three_axes_are_events_channels_samples() {
    for (group, first_event, channels) in [("listed", 100, [7, 5, 9]), ("plain", 0, [0, 1, 2])] {
        let read = read("axes.h5", group);
        assert_eq!(read.waveforms.len(), ROWS);
        assert!(read.losses.is_empty());
        for (row, waveform) in read.waveforms.iter().enumerate() {
            assert_eq!(waveform.event_id, first_event + row as u64 / 3, "{group}");
            assert_eq!(waveform.channel_id, channels[row % 3], "{group}");
            assert_eq!(waveform.samples, Values::U16(counts(row)), "{group}");
        }
        let remarks = &read.info.remarks;
        assert!(
            remarks
                .iter()
                .any(|it| it.text.contains("8 events x 3 channels")),
            "{remarks:?}"
        );
    }
    let text = refusal("axes.h5", "swapped");
    assert!(
        text.contains("3 samples") && text.contains("transpose"),
        "{text}"
    );
}
