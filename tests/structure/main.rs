//! The structure of the sources: import directions between folders, import circles between files, thread pools, and option names.

mod circles;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files and folders that every folder may import from.
const SHARED: [&str; 5] = ["error", "math", "text", "threads", "version"];

/// Parts of `io` that import only from each other and from the shared folders; `detector` uses them to read tables of sensors.
const LEAVES: [&str; 3] = ["io/catch_panic.rs", "io/limits/", "io/system_errors.rs"];

/// Each folder of `src/` with the folders that it may import from, as ARCHITECTURE.md states them; `cli` may import from all.
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
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn imports() -> BTreeMap<String, BTreeSet<String>> {
    source::imports(&src())
}

/// Each file of the library outside `folders`, with its text.
fn texts_outside(folders: &[&str]) -> Vec<(String, String)> {
    imports()
        .into_keys()
        .filter(|file| !folders.contains(&area(file)))
        .map(|file| {
            let text = std::fs::read_to_string(src().join(&file)).expect("a source");
            (file, text)
        })
        .collect()
}

/// The first-level folder, or the stem of a file that is in none.
fn area(file: &str) -> &str {
    let first = file.split_once('/').map_or(file, |(folder, _)| folder);
    first.strip_suffix(".rs").unwrap_or(first)
}

#[test]
fn folders_import_in_the_allowed_directions_only() {
    let imports = imports();
    let wrong: Vec<String> = imports
        .iter()
        .filter(|(file, _)| !["lib", "cli"].contains(&area(file)))
        .flat_map(|(file, targets)| targets.iter().map(move |target| (file, target)))
        .filter(|(file, target)| {
            let (from, to) = (area(file), area(target));
            let listed = ALLOWED
                .iter()
                .any(|(folder, targets)| *folder == from && targets.contains(&to));
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
        if is_leaf(file) {
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
    let without: Vec<String> = texts_outside(&PROGRAMS)
        .into_iter()
        .filter(|(_, text)| {
            let is_parallel = text.contains(".par_") || text.contains(".into_par_iter(");
            is_parallel && !text.contains("in_pool(") && !text.contains(".install(")
        })
        .map(|(file, _)| file)
        .collect();
    assert!(without.is_empty(), "{}", without.join("\n"));
}

/// The library gives hints as data; only the command line knows its options.
#[test]
fn no_text_of_the_library_names_an_option_of_the_command_line() {
    let mut found = Vec::new();
    for (file, text) in texts_outside(&["cli"]) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, number) in code.lines().zip(1..) {
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && (line.contains("`--") || line.contains("`-o`")) {
                found.push(format!("{file}:{number}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
