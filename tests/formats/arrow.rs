//! Arrow IPC files as other programs write them: right by their footer, whatever else is in them.

use std::path::PathBuf;

use crate::support::formats::{Owned, counts, read, read_with, write};
use nuwave::io::{BatchLimit, Loss, ReadOptions};
use nuwave::model::Truth;

/// A file of four batches of 1024 waveforms, and its bytes.
struct File {
    folder: tempfile::TempDir,
    waveforms: Vec<Owned>,
    bytes: Vec<u8>,
    /// Offset of the footer.
    footer: usize,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let waveforms = counts(4096, 32);
        let path = folder.path().join("whole.arrow");
        write(&path, &waveforms, 1024, &Truth::default()).expect("a file");
        let bytes = std::fs::read(&path).expect("the file");
        let tail = bytes.len() - 10;
        let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("a word"));
        Self {
            footer: tail - length as usize,
            folder,
            waveforms,
            bytes,
        }
    }

    fn with(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("other.arrow");
        std::fs::write(&path, bytes).expect("room on the disk");
        path
    }
}

#[test]
fn a_file_is_read_by_its_footer() {
    let file = File::new();
    let schema = u32::from_le_bytes(file.bytes[12..16].try_into().expect("a word")) as usize;
    // Without the mark of the end, which is in front of the footer.
    let end = file.footer - 8;
    assert_eq!(
        file.bytes[end..file.footer],
        [255, 255, 255, 255, 0, 0, 0, 0]
    );
    let no_end = [&file.bytes[..end], &file.bytes[file.footer..]].concat();
    let mut no_schema = file.bytes.clone();
    no_schema[8..16 + schema].fill(0);
    let mut bare_schema = file.bytes.clone();
    bare_schema.copy_within(16..16 + schema, 8);
    bare_schema[8 + schema..16 + schema].fill(0);
    let mut junk = file.bytes.clone();
    junk[8..16 + schema].fill(0x5a);
    for (what, bytes) in [
        ("no mark of the end", no_end),
        ("no schema message", no_schema),
        ("a schema without its length", bare_schema),
        ("junk in front of the batches", junk),
    ] {
        let read = read(&file.with(&bytes));
        assert!(read.waveforms == file.waveforms, "{what}");
        assert!(read.losses.is_empty(), "{what}: {:?}", read.losses);
        assert_eq!(read.info.n_waveforms, Some(4096), "{what}");
    }
}

#[test]
fn without_a_footer_the_whole_batches_are_read_and_the_cut_one_is_counted() {
    let file = File::new();
    // Through the last batch, and through the footer.
    for (cut, n_whole) in [(file.footer - 500, 3072), (file.footer + 30, 4096)] {
        let read = read(&file.with(&file.bytes[..cut]));
        assert!(read.waveforms == file.waveforms[..n_whole], "cut at {cut}");
        let known: u64 = read.losses.iter().filter_map(|loss| loss.n_waveforms).sum();
        assert_eq!(known, 4096 - n_whole as u64);
    }
    // A damaged footer is no loss as long as the stream is whole.
    let mut damaged = file.bytes.clone();
    damaged[file.footer..file.footer + 8].fill(0xff);
    let read = read(&file.with(&damaged));
    assert!(read.waveforms == file.waveforms);
    assert!(read.losses.is_empty(), "{:?}", read.losses);
}

#[test]
fn a_damaged_header_of_a_batch_costs_that_batch() {
    let file = File::new();
    let is_marker = |&at: &usize| file.bytes[at..at + 4] == [255; 4] && at % 8 == 0;
    let markers: Vec<usize> = (8..file.footer - 8).filter(is_marker).collect();
    let second = markers[2];
    let mut damaged = file.bytes.clone();
    damaged[second + 8..second + 40].fill(0x7f);
    let path = file.with(&damaged);
    let read = read_with(&path, &ReadOptions::default(), BatchLimit::default()).expect("a file");
    let others = [&file.waveforms[..1024], &file.waveforms[2048..]].concat();
    assert!(read.waveforms == others);
    let numbers: Vec<_> = read
        .losses
        .iter()
        .map(|loss: &Loss| loss.n_waveforms)
        .collect();
    assert_eq!(numbers, [None]);
}
