//! Damage of every kind to files of every format: what is lost is listed exactly, what is left is what was there.
//!
//! `NUWAVE_DAMAGE=1000 cargo test --release --test formats damage::` makes 1000 random cuts per format, and damages
//! as many of its blocks; the default is fewer.

use std::path::{Path, PathBuf};

use crate::support::formats::{Owned, Read, counts, read_with, values, write};
use nuwave::io::{BatchLimit, Loss, ReadOptions};
use nuwave::model::Truth;

const ENDINGS: [&str; 7] = ["h5", "parquet", "arrow", "npy", "npz", "dat", "txt"];
const N_SAMPLES: usize = 32;
/// Four chunks, row groups, batches.
const N_WAVEFORMS: u64 = 4096;

/// How often each format is damaged, if the user says so.
fn wanted(default: usize) -> usize {
    let wanted = std::env::var("NUWAVE_DAMAGE").ok();
    wanted.map_or(default, |n| n.parse().expect("NUWAVE_DAMAGE is a number"))
}

/// A file, its waveforms, and where its blocks begin.
struct Whole {
    folder: tempfile::TempDir,
    ending: &'static str,
    bytes: Vec<u8>,
    waveforms: Vec<Owned>,
    blocks: Vec<usize>,
}

impl Whole {
    fn new(ending: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut waveforms = counts(N_WAVEFORMS, N_SAMPLES);
        if ending == "npy" {
            for (row, waveform) in waveforms.iter_mut().enumerate() {
                waveform.event_id = row as u64;
                waveform.channel_id = 0;
            }
        }
        let path = folder.path().join(format!("whole.{ending}"));
        write(&path, &waveforms, 500, &Truth::default()).expect("a file");
        let bytes = std::fs::read(&path).expect("the file");
        let blocks = blocks(&path, ending, &bytes);
        assert!(blocks.len() >= 4, "{ending}: {blocks:?}");
        Self {
            folder,
            ending,
            bytes,
            waveforms,
            blocks,
        }
    }

    /// Reads `bytes` in place of the file.
    fn read(&self, bytes: &[u8]) -> Option<Read> {
        let path: PathBuf = self.folder.path().join(format!("damaged.{}", self.ending));
        std::fs::write(&path, bytes).expect("room on the disk");
        read_with(&path, &ReadOptions::default(), BatchLimit::default()).ok()
    }

    /// Waveforms of `read` that are not those of the file, and those that are missing; the others have to be in order.
    fn compare(&self, read: &Read) -> (usize, usize) {
        let (mut changed, mut next) = (0, 0);
        for waveform in &read.waveforms {
            let rest = &self.waveforms[next..];
            // A text record with a fractional sample turns the others of its batch into floats of the same values.
            let is_same = |it: &Owned| {
                (it.event_id, it.channel_id) == (waveform.event_id, waveform.channel_id)
                    && values(it) == values(waveform)
            };
            match rest.iter().position(is_same) {
                Some(ahead) => next += ahead + 1,
                None => changed += 1,
            }
        }
        (
            changed,
            self.waveforms.len().saturating_sub(read.waveforms.len()),
        )
    }
}

/// Where the blocks of a file begin: records, chunks, pages' columns, messages, members.
fn blocks(path: &Path, ending: &str, bytes: &[u8]) -> Vec<usize> {
    let find = |what: &[u8]| -> Vec<usize> {
        bytes
            .windows(what.len())
            .enumerate()
            .filter(|(_, it)| *it == what)
            .map(|(at, _)| at)
            .collect()
    };
    match ending {
        "dat" => (0..bytes.len()).step_by(24 + 2 * N_SAMPLES).collect(),
        "txt" => find(b"Record Length"),
        "npy" => (128..bytes.len()).step_by(2 * N_SAMPLES).collect(),
        "npz" => find(b"PK\x03\x04")
            .into_iter()
            .chain(find(b"PK\x01\x02"))
            .collect(),
        "arrow" => find(&[0xff; 4])
            .into_iter()
            .filter(|at| at % 8 == 0)
            .collect(),
        "parquet" => {
            use parquet::file::reader::{FileReader as _, SerializedFileReader};
            let file = std::fs::File::open(path).expect("the file");
            let reader = SerializedFileReader::new(file).expect("Parquet");
            let groups = reader.metadata().row_groups();
            groups
                .iter()
                .flat_map(parquet::file::metadata::RowGroupMetaData::columns)
                .map(|column| column.byte_range().0 as usize)
                .collect()
        }
        _ => {
            let file = hdf5_pure::File::open(path).expect("HDF5");
            let chunks = ["event_id", "channel_id", "samples"]
                .into_iter()
                .flat_map(|name| {
                    let dataset = file
                        .dataset(&format!("waveforms/{name}"))
                        .expect("a dataset");
                    dataset.chunks().expect("chunks")
                });
            chunks.map(|chunk| chunk.address as usize).collect()
        }
    }
}

/// A stream of numbers that only depends on `seed`.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below.max(1)
    }
}

/// At most so many of `all`, evenly.
fn some(all: &[usize], most: usize) -> impl Iterator<Item = usize> {
    let step = all.len().div_ceil(most).max(1);
    all.iter()
        .copied()
        .step_by(step)
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn a_file_that_is_cut_gives_what_is_whole_and_says_so() {
    for ending in ENDINGS {
        let whole = Whole::new(ending);
        let length = whole.bytes.len();
        let mut random = random(7);
        let at_blocks =
            some(&whole.blocks, wanted(100)).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
        let cuts: Vec<usize> = at_blocks
            .chain((0..wanted(140)).map(|_| random(length)))
            .collect();
        for cut in cuts.into_iter().filter(|&cut| cut < length) {
            let Some(read) = whole.read(&whole.bytes[..cut]) else {
                continue;
            };
            let (changed, missing) = whole.compare(&read);
            assert_eq!(changed, 0, "{ending} cut at {cut}");
            let lost: u64 = read.losses.iter().map(Loss::at_least).sum();
            // Records that end between two of them look whole: nothing in the format says how many there were.
            let between = matches!(ending, "dat" | "txt")
                && (whole.blocks.contains(&cut)
                    || whole.bytes[cut..].iter().all(u8::is_ascii_whitespace));
            assert!(
                missing == 0 || lost > 0 || between,
                "{ending} cut at {cut}: {missing} missing, none lost"
            );
            // Where the format says how many there were, the list says so too.
            if read.info.n_waveforms == Some(N_WAVEFORMS) {
                assert_eq!(lost as usize, missing, "{ending} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_block_costs_that_block_and_is_listed() {
    for ending in ENDINGS {
        let whole = Whole::new(ending);
        let mut random = random(11);
        let mut ends = whole.blocks[1..].to_vec();
        ends.push(whole.bytes.len());
        let ranges: Vec<(usize, usize)> = whole.blocks.iter().copied().zip(ends).collect();
        let step = ranges.len().div_ceil(wanted(60)).max(1);
        for (begin, end) in ranges.into_iter().step_by(step) {
            let at = begin + random(end.saturating_sub(begin).max(1));
            let mut bytes = whole.bytes.clone();
            bytes[at.min(whole.bytes.len() - 1)] ^= 1 << random(8);
            let Some(read) = whole.read(&bytes) else {
                continue;
            };
            let (changed, missing) = whole.compare(&read);
            let lost: u64 = read.losses.iter().map(Loss::at_least).sum();
            let place =
                format!("{ending} at {at}: {changed} changed, {missing} missing, {lost} lost");
            assert!(missing == 0 || lost > 0, "{place}");
            match ending {
                // Checksums of the deflated chunks: a chunk is lost, and exactly that.
                "h5" => {
                    assert_eq!(changed, 0, "{place}");
                    assert_eq!(missing, lost as usize, "{place}");
                    assert!(missing <= 1024, "{place}");
                }
                // The archive's checksum covers an array as a whole: what was changed is not known, that it was is.
                "npz" => assert!(changed == 0 || lost > 0, "{place}"),
                // Nothing in these formats protects samples and numbers; no other waveform is touched.
                "npy" | "dat" | "txt" => assert!(changed <= 1, "{place}"),
                "arrow" => assert!(changed <= 1024, "{place}"),
                // Compressed without a checksum, unless the writer put one there.
                _ => assert!(changed + missing <= 1024, "{place}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_the_table_of_contents_of_an_archive_is_noticed_or_harmless() {
    let whole = Whole::new("npz");
    let contents = whole
        .bytes
        .windows(4)
        .position(|bytes| bytes == b"PK\x01\x02")
        .expect("a table of contents");
    for at in contents..whole.bytes.len() {
        let mut bytes = whole.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let Some(read) = whole.read(&bytes) else {
            continue;
        };
        let (changed, missing) = whole.compare(&read);
        let lost: u64 = read.losses.iter().map(Loss::at_least).sum();
        assert!(
            changed + missing == 0 || lost > 0,
            "npz at {at}: {changed} changed, {missing} missing, {lost} lost"
        );
    }
}

#[test]
fn swapped_and_repeated_blocks_change_no_waveform() {
    for ending in ["dat", "txt", "arrow", "npy"] {
        let whole = Whole::new(ending);
        let mut random = random(13);
        for _ in 0..wanted(20) {
            let k = random(whole.blocks.len() - 2);
            let (a, b, c) = (whole.blocks[k], whole.blocks[k + 1], whole.blocks[k + 2]);
            let (first, second) = (&whole.bytes[a..b], &whole.bytes[b..c]);
            let (before, after) = (&whole.bytes[..a], &whole.bytes[c..]);
            let swapped = [before, second, first, after].concat();
            let repeated = [before, first, second, second, after].concat();
            for bytes in [swapped, repeated] {
                let Some(read) = whole.read(&bytes) else {
                    continue;
                };
                let same = |it: &Owned| match ending {
                    // A row's number is its place.
                    "npy" => whole
                        .waveforms
                        .iter()
                        .any(|other| other.samples == it.samples),
                    _ => whole.waveforms.contains(it),
                };
                let foreign = read.waveforms.iter().filter(|it| !same(it)).count();
                let lost = !read.losses.is_empty();
                assert_eq!(foreign, 0, "{ending}, block {k}");
                assert!(
                    read.waveforms.len() as u64 >= N_WAVEFORMS || lost,
                    "{ending}, block {k}"
                );
            }
        }
    }
}
