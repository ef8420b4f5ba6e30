//! Expands what the user names (files, folders, patterns, a list) to files, in a reproducible order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::tables::read::MANIFEST;
use super::waveforms::{FORMATS, endings};
use crate::error::{Error, Result};

/// Files that mark a folder as a finished or unfinished output of nuwave.
const OUTPUT_MARKERS: [&str; 3] = ["report.json", MANIFEST, "light.json"];

/// The inputs of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The files, in their order.
    pub files: Vec<PathBuf>,
    /// Entries of the folders that are left out: files without the ending of a format, and outputs of nuwave.
    pub left_out: Vec<PathBuf>,
    /// Files that are named more than once, as they are named first; they are read once.
    pub repeated: Vec<PathBuf>,
}

/// Expands the paths `named` and those in the file `list`, one per line.
///
/// A folder stands for the files in it and its subfolders that have the ending of a format, sorted by name. Hidden files,
/// truth files and outputs of nuwave, finished or not, are left out. A pattern (`run*.h5`, `**/*.dat`) stands for the files
/// that match, sorted by name. Each line of the list (see [`lines`]) may be any of these.
///
/// # Errors
/// If a folder or the list cannot be read, a pattern is invalid or matches nothing, or a folder holds no such file.
pub fn expand(named: &[PathBuf], list: Option<&Path>) -> Result<Inputs> {
    let mut inputs = Inputs::default();
    for path in named {
        add(&mut inputs, path)?;
    }
    for (place, path) in list.map(lines).transpose()?.unwrap_or_default() {
        add(&mut inputs, &path).map_err(|error| error.in_file(&place))?;
    }
    (inputs.files, inputs.repeated) = unique(std::mem::take(&mut inputs.files));
    Ok(inputs)
}

/// Returns `files`, each once, and those that are named more than once: by other spellings of the path, or by links.
#[must_use]
pub fn unique(files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut first_names: BTreeMap<Identity, PathBuf> = BTreeMap::new();
    let (mut once, mut repeated) = (Vec::new(), Vec::new());
    for file in files {
        match first_names.entry(Identity::new(&file)) {
            Entry::Occupied(first) => repeated.push(first.get().clone()),
            Entry::Vacant(entry) => {
                entry.insert(file.clone());
                once.push(file);
            }
        }
    }
    repeated.sort();
    repeated.dedup();
    (once, repeated)
}

/// The identity of a file, equal for all of its names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// Device and number of the file, which links share.
    #[cfg(unix)]
    Number(u64, u64),
    /// The path, without links where it exists.
    Path(PathBuf),
}

impl Identity {
    fn new(path: &Path) -> Self {
        #[cfg(unix)]
        if let Ok(metadata) = std::fs::metadata(path) {
            use std::os::unix::fs::MetadataExt as _;
            return Self::Number(metadata.dev(), metadata.ino());
        }
        Self::Path(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }
}

/// Reads the paths in the file `list`, one per line, each with its line (`list:3`). Empty lines and lines that begin with
/// `#` are skipped.
///
/// # Errors
/// If it cannot be read.
pub fn lines(list: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let text = std::fs::read_to_string(list)
        .map_err(|error| Error::input(list, "cannot be read").with_source(error))?;
    let numbered = text.lines().map(str::trim).zip(1..);
    Ok(numbered
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| (format!("{}:{number}", list.display()).into(), line.into()))
        .collect())
}

fn add(inputs: &mut Inputs, path: &Path) -> Result<()> {
    if path.is_dir() {
        return add_folder(inputs, path);
    }
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
    let Some(pattern) = pattern.filter(|_| !path.exists()) else {
        inputs.files.push(path.to_owned());
        return Ok(());
    };
    let matches = glob::glob(pattern).map_err(|error| {
        Error::usage(format!("`{pattern}` is not a pattern of file names")).with_source(error)
    })?;
    let mut files = Vec::new();
    for file in matches {
        let file = file.map_err(|error| {
            Error::input(path, "a path that matches cannot be read").with_source(error)
        })?;
        if file.is_file() && !is_truth(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::input(path, "no file matches this pattern"));
    }
    files.sort();
    inputs.files.append(&mut files);
    Ok(())
}

fn add_folder(inputs: &mut Inputs, folder: &Path) -> Result<()> {
    let before = inputs.files.len();
    let mut entries = WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter();
    while let Some(entry) = entries.next() {
        let entry =
            entry.map_err(|error| Error::input(folder, "cannot be read").with_source(error))?;
        let is_folder = entry.file_type().is_dir();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.depth() > 0 && is_folder && (is_hidden || is_output(entry.path())) {
            entries.skip_current_dir();
            if !is_hidden {
                inputs.left_out.push(entry.into_path());
            }
            continue;
        }
        if is_folder || is_hidden || is_truth(entry.path()) {
            continue;
        }
        let ending = entry.path().extension().and_then(|it| it.to_str());
        let is_known = ending.is_some_and(|ending| {
            let ending = ending.to_ascii_lowercase();
            endings(FORMATS).any(|known| known == ending)
        });
        let list = if is_known {
            &mut inputs.files
        } else {
            &mut inputs.left_out
        };
        list.push(entry.into_path());
    }
    if inputs.files.len() == before {
        return Err(
            Error::input(folder, "is a folder without a file of waveforms").with_hint(format!(
                "the inputs in a folder are its files that end in `.{}`; name others one by one",
                endings(FORMATS).collect::<Vec<_>>().join("`, `.")
            )),
        );
    }
    Ok(())
}

/// Returns true for a finished or unfinished output of nuwave.
fn is_output(folder: &Path) -> bool {
    OUTPUT_MARKERS.into_iter().any(|name| {
        let text = std::fs::read(folder.join(name)).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        value.get("nuwave").is_some()
    })
}

/// Returns true for the truth that nuwave writes next to a file of waveforms.
fn is_truth(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".truth.parquet") || name.ends_with(".truth-events.parquet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        folder
    }

    fn names(folder: &Path, files: &[PathBuf]) -> Vec<String> {
        let relative = |file: &PathBuf| {
            let path = file.strip_prefix(folder).expect("inside");
            path.to_string_lossy().into_owned()
        };
        files.iter().map(relative).collect()
    }

    #[test]
    fn a_folder_means_its_files_by_name() {
        let folder = folder_with(&[
            "b.h5",
            "a.dat",
            "notes.md",
            "deep/c.npy",
            "a.truth.parquet",
            ".hidden.h5",
            ".git/x.h5",
            "others/report.json",
            "others/d.h5",
            "out/hits/part.parquet",
            "out/report.json",
            "out2.partial/tables/hits/part.parquet",
            "out2.partial/manifest.json",
        ]);
        let path = folder.path();
        for name in ["out/report.json", "out2.partial/manifest.json"] {
            std::fs::write(path.join(name), r#"{"nuwave": "0.1.0"}"#).expect("a file");
        }
        let inputs = expand(&[path.to_owned()], None).expect("files");
        let expected = ["a.dat", "b.h5", "deep/c.npy", "others/d.h5"];
        assert_eq!(names(path, &inputs.files), expected);
        let left_out = ["notes.md", "others/report.json", "out", "out2.partial"];
        assert_eq!(names(path, &inputs.left_out), left_out);
        let empty = folder_with(&["notes.md"]);
        let error = expand(&[empty.path().to_owned()], None).expect_err("no waveforms");
        assert_eq!(error.kind(), ErrorKind::Input);
    }

    #[test]
    fn patterns_and_lists_mean_files() {
        let folder = folder_with(&["run10.h5", "run2.h5", "run1.dat"]);
        let path = folder.path();
        let list = path.join("list");
        let text = format!("# two\n\n{0}/run*.h5\n  {0}/run1.dat  \n", path.display());
        std::fs::write(&list, text).expect("a file");
        let inputs = expand(&[path.join("run2.h5")], Some(&list)).expect("files");
        let expected = ["run2.h5", "run10.h5", "run1.dat"];
        assert_eq!(names(path, &inputs.files), expected);
        assert_eq!(names(path, &inputs.repeated), ["run2.h5"]);
        std::fs::write(&list, "run2.h5\nno*such\n").expect("a file");
        let error = expand(&[], Some(&list)).expect_err("nothing matches");
        assert!(error.to_string().contains("list:2`: `no*such`"), "{error}");
    }
}
