//! Gives the library the commit it is built from, as the environment variable `NUWAVE_COMMIT` of the compiler.
//!
//! A value of `NUWAVE_COMMIT` in the environment of the build wins; it is for builds from an archive, where there is no
//! repository. Otherwise Git is asked; a build from a changed work tree is marked `-dirty`. Without either the commit is `unknown`.

use std::env;
use std::path::Path;
use std::process::Command;

/// Files and folders of the package that decide what is compiled. A change to one of them marks the build as dirty.
const SOURCES: [&str; 5] = ["src", "shaders", "build.rs", "Cargo.toml", "Cargo.lock"];
/// Files of the Git folder that change when another commit is checked out or made.
const HEADS: [&str; 3] = ["HEAD", "logs/HEAD", "packed-refs"];

fn main() {
    println!("cargo::rerun-if-env-changed=NUWAVE_COMMIT");
    for path in SOURCES {
        watch(path);
    }
    let commit = env::var("NUWAVE_COMMIT")
        .ok()
        .filter(|commit| !commit.trim().is_empty() && !commit.contains('\n'))
        .or_else(commit_of_checkout)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=NUWAVE_COMMIT={}", commit.trim());
}

/// Returns the commit that is checked out, or `None` if this package is not the top of a Git work tree.
fn commit_of_checkout() -> Option<String> {
    // An unpacked archive may lie in the work tree of another project, whose commit says nothing about this one.
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for file in HEADS.into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            watch(&path);
        }
    }
    let mut status = vec!["status", "--porcelain", "--untracked-files=normal", "--"];
    status.extend(SOURCES);
    let is_dirty = !git(&status)?.is_empty();
    Some(if is_dirty {
        format!("{commit}-dirty")
    } else {
        commit
    })
}

/// Runs Git in the package's folder; returns its output, or `None` if it fails or is not installed.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(["--no-optional-locks"])
        .args(arguments)
        .current_dir(env::var_os("CARGO_MANIFEST_DIR")?)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Runs this script again when `path` changes. A path that does not exist is left out: Cargo would run the script at each build.
fn watch(path: &str) {
    if Path::new(path).exists() {
        println!("cargo::rerun-if-changed={path}");
    }
}
