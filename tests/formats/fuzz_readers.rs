//! Damaged seeds of the fuzz targets, with the checks of `tests/fuzz/`: a few seconds of `scripts/fuzz`, without its tools.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;
use std::time::{Duration, Instant};

use nuwave::io::{BatchLimit, ReadOptions};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestError, TestRunner};

/// Longest that a damaged file of some kilobytes may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest file that is damaged.
const MAX_BYTES: u64 = 64 << 10;

/// One damage.
#[derive(Clone, Debug)]
enum Damage {
    /// A bit is another.
    Flip(Index, u8),
    /// The file ends here.
    Cut(Index),
    /// Some bytes are missing.
    Leave(Index, u8),
    /// The file goes on as another one does.
    Splice(Index, Index, Index),
    /// Some bytes are there twice, the second time elsewhere.
    Repeat(Index, u8, Index),
    /// Two ranges of the same length are exchanged.
    Swap(Index, Index, u8),
    /// An integer of 1, 2, 4 or 8 bytes is an extreme one.
    Integer(Index, u8, u64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    let extreme = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|bit| (1 << bit) - 1),
        any::<u64>(),
    ];
    prop_oneof![
        3 => (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), 1..64_u8).prop_map(|(at, n)| Damage::Leave(at, n)),
        1 => (place(), place(), place()).prop_map(|(at, seed, from)| Damage::Splice(at, seed, from)),
        1 => (place(), 1..64_u8, place()).prop_map(|(at, n, to)| Damage::Repeat(at, n, to)),
        1 => (place(), place(), 1..64_u8).prop_map(|(one, other, n)| Damage::Swap(one, other, n)),
        3 => (place(), 0..4_u8, extreme).prop_map(|(at, width, value)| Damage::Integer(at, width, value)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        if bytes.is_empty() {
            return;
        }
        let end = bytes.len();
        let upto = |at: usize, n: u8| (at + usize::from(n)).min(end);
        match self {
            Self::Flip(at, bit) => bytes[at.index(end)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(end)),
            Self::Leave(at, n) => {
                let at = at.index(end);
                bytes.drain(at..upto(at, *n));
            }
            Self::Splice(at, seed, from) => {
                let other = &seeds[seed.index(seeds.len())];
                bytes.truncate(at.index(end));
                bytes.extend_from_slice(&other[from.index(other.len())..]);
            }
            Self::Repeat(at, n, to) => {
                let at = at.index(end);
                let again = bytes[at..upto(at, *n)].to_vec();
                let to = to.index(end);
                bytes.splice(to..to, again);
            }
            Self::Swap(one, other, n) => {
                let (one, other) = (one.index(end), other.index(end));
                for k in 0..usize::from(*n) {
                    if one.max(other) + k < end {
                        bytes.swap(one + k, other + k);
                    }
                }
            }
            Self::Integer(at, width, value) => {
                let at = at.index(end);
                let width = 1 << width;
                for (to, from) in bytes[at..].iter_mut().zip(&value.to_le_bytes()[..width]) {
                    *to = *from;
                }
            }
        }
    }
}

/// The seeds of a target, in the order of their names, and with them the files of `testdata` that are small.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = [
        root.join("tests/fuzz/corpus").join(target),
        root.join("testdata"),
    ]
    .iter()
    .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten())
    .map(|entry| entry.expect("a folder that can be listed").path())
    .filter(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let small = path
            .metadata()
            .is_ok_and(|it| (1..=MAX_BYTES).contains(&it.len()));
        let foreign = path.starts_with(root.join("testdata"))
            && ending != Some(target)
            && !(target == "wavedump_binary" && ending == Some("dat"));
        let is_truth = path.to_string_lossy().contains(".truth.");
        small && !foreign && !is_truth
    })
    .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("a seed"))
        .collect()
}

/// A seed with its damages.
fn damaged_seed(seeds: &[Vec<u8>], seed: Index, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = seeds[seed.index(seeds.len())].clone();
    for damage in damages {
        damage.apply(&mut bytes, seeds);
    }
    bytes
}

/// Checks a target with its seeds, whole and then damaged in `cases` ways.
fn check(target: &str, cases: u32) {
    let (_, check) = fuzz::TARGETS
        .into_iter()
        .find(|(name, _)| *name == target)
        .expect("a target of this name");
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let timed = |bytes: &[u8]| {
        let begin = Instant::now();
        let outcome = check(bytes);
        let took = begin.elapsed();
        assert!(took < PATIENCE, "{} bytes took {took:?}", bytes.len());
        outcome
    };
    for (number, seed) in seeds.iter().enumerate() {
        if let Err(reason) = timed(seed) {
            panic!("seed {number} of {target} is refused: {reason}");
        }
    }
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let damaged = (any::<Index>(), prop::collection::vec(damage(), 1..6));
    let result = runner.run(&damaged, |(seed, damages)| {
        let _ = timed(&damaged_seed(&seeds, seed, &damages));
        Ok(())
    });
    if let Err(error) = result {
        if let TestError::Fail(_, (seed, damages)) = &error {
            let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}.damaged"));
            std::fs::write(&found, damaged_seed(&seeds, *seed, damages)).expect("room for it");
            println!("the damaged file is kept: {}", found.display());
        }
        panic!("{target}: {error}");
    }
}

/// Findings of past runs, and the expected outcome of each.
#[test]
fn findings_are_refused_for_what_is_wrong_with_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    for (file, expected) in [
        ("hdf5/chunk.h5", "claims more bytes than the file has"),
        ("hdf5/chunks.h5", "more than a file of 588 bytes can hold"),
        ("parquet/schema.parquet", "the footer's schema is damaged"),
        ("npy/nested.npy", "the header cannot be understood"),
        ("parquet/list.parquet", "the footer's schema is damaged"),
        (
            "parquet/longer_list.parquet",
            "the footer's schema is damaged",
        ),
    ] {
        let path = folder.join(file);
        let found = nuwave::io::open(&path, &ReadOptions::default()).and_then(|mut source| {
            while source.next_batch(BatchLimit::default())?.is_some() {}
            Ok(source.take_losses())
        });
        let said = match found {
            Ok(losses) => format!("{losses:?}"),
            Err(error) => error.reason(),
        };
        assert!(said.contains(expected), "{file}: {said}");
    }
}

macro_rules! damaged {
    ($($test:ident: $target:literal, $cases:literal;)*) => {
        $(#[test]
        fn $test() {
            check($target, $cases);
        })*

        #[test]
        fn every_target_is_checked() {
            let checked = [$($target),*];
            for (name, _) in fuzz::TARGETS {
                assert!(checked.contains(&name), "{name} is not");
            }
        }
    };
}

damaged! {
    damaged_hdf5: "hdf5", 600;
    damaged_parquet: "parquet", 600;
    damaged_arrow: "arrow", 600;
    damaged_npy: "npy", 600;
    damaged_npz: "npz", 600;
    damaged_wavedump_binary: "wavedump_binary", 600;
    damaged_wavedump_without_headers: "wavedump_bare", 600;
    damaged_wavedump_text: "wavedump_text", 600;
    damaged_numbers: "wavedump_numbers", 600;
    damaged_hits: "hits", 600;
    damaged_tables: "tables", 600;
    damaged_calibration: "calibration", 600;
    damaged_light_maps: "light", 200;
    damaged_detector_files: "detector", 100;
    damaged_sensor_tables: "sensors", 600;
    damaged_configuration: "configuration", 600;
}
