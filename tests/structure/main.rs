//! The structure of the sources: which folder may import from which, and that no files import each other in a circle.

mod circles;
mod options;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The files and folders that all may import from.
const SHARED: [&str; 5] = ["error", "math", "text", "threads", "version"];

/// Parts of `io` that import from nothing but these and that `detector`, which reads tables of sensors, uses too.
const LEAVES: [&str; 3] = ["io/catch_panic.rs", "io/limits/", "io/system_errors.rs"];

/// Each folder of `src/` with the folders that it may import from, as ARCHITECTURE.md states them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("detector", &["model"]),
    ("io", &["detector", "model"]),
    ("extract", &["model"]),
    ("gpu", &["extract", "model"]),
    ("event", &["detector", "model"]),
    ("simulate", &["detector", "model"]),
    ("plot", &["detector", "model"]),
    ("calibrate", &["detector", "event", "model", "plot"]),
    ("evaluate", &["detector", "io", "model", "plot"]),
    (
        "bench",
        &["detector", "extract", "gpu", "model", "plot", "simulate"],
    ),
    (
        "pipeline",
        &["detector", "event", "extract", "gpu", "io", "model"],
    ),
    (
        "service",
        &[
            "detector", "event", "extract", "gpu", "io", "model", "pipeline",
        ],
    ),
    (
        "cli",
        &[
            "bench",
            "calibrate",
            "detector",
            "evaluate",
            "event",
            "extract",
            "gpu",
            "io",
            "model",
            "pipeline",
            "plot",
            "service",
            "simulate",
        ],
    ),
];

fn imports() -> BTreeMap<String, BTreeSet<String>> {
    source::imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The first-level folder, or the stem of a file that is in none.
fn area(file: &str) -> &str {
    let first = file.split_once('/').map_or(file, |(folder, _)| folder);
    first.strip_suffix(".rs").unwrap_or(first)
}

#[test]
fn folders_import_in_the_allowed_directions_only() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let imports = imports();
    let wrong: Vec<String> = imports
        .iter()
        .filter(|(file, _)| area(file) != "lib")
        .flat_map(|(file, targets)| targets.iter().map(move |target| (file, target)))
        .filter(|(file, target)| {
            let (from, to) = (area(file), area(target));
            let listed = allowed
                .get(from)
                .is_some_and(|folders| folders.contains(&to));
            let leaf = LEAVES.iter().any(|leaf| target.starts_with(leaf));
            from != to && !SHARED.contains(&to) && !listed && !leaf
        })
        .map(|(file, target)| format!("{file} imports from {target}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        imports.len() > 100,
        "too few files found: {}",
        imports.len()
    );
}

#[test]
fn leaves_import_from_shared_folders_only() {
    for (file, targets) in &imports() {
        let is_leaf = |file: &str| LEAVES.iter().any(|leaf| file.starts_with(leaf));
        if is_leaf(file) || SHARED.contains(&area(file)) {
            let wrong: Vec<_> = targets
                .iter()
                .filter(|target| !is_leaf(target) && !SHARED.contains(&area(target)))
                .collect();
            assert!(wrong.is_empty(), "{file} imports from {wrong:?}");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports();
    let circles: Vec<String> = circles::circles(&imports)
        .iter()
        .map(|circle| circles::describe(&imports, circle))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// Folders of programs, which install their own pools.
const PROGRAMS: [&str; 2] = ["bench", "cli"];

#[test]
fn parallel_work_runs_in_a_pool_that_was_passed_or_is_the_library_s() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let without: Vec<String> = imports()
        .into_keys()
        .filter(|file| !PROGRAMS.contains(&area(file)))
        .filter(|file| {
            let text = std::fs::read_to_string(src.join(file)).expect("a source");
            let is_parallel = text.contains(".par_") || text.contains(".into_par_iter(");
            is_parallel && !text.contains("in_pool(") && !text.contains(".install(")
        })
        .collect();
    assert!(without.is_empty(), "{}", without.join("\n"));
}

#[test]
fn no_text_of_the_library_names_an_option_of_the_command_line() {
    let found = options::texts_with_options(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
