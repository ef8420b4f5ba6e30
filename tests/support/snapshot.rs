//! Snapshots of texts in insta's format, in the folder `snapshots/` of each area.

use std::cell::Cell;
use std::path::Path;

/// Asserts that `text` equals the snapshot `name`, except for what differs from build to build or from machine to machine.
#[track_caller]
pub fn assert(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    settings.set_snapshot_path(tests.join(env!("CARGO_CRATE_NAME")).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, redacted(text)));
}

/// Asserts that `text` equals the next snapshot of the running test; the snapshots of a test are numbered.
#[track_caller]
pub fn assert_next(text: &str) {
    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }
    let number = COUNT.get() + 1;
    COUNT.set(number);
    let thread = std::thread::current();
    let thread_name = thread.name().expect("the name of the test");
    let name = format!("{}-{number}", thread_name.replace("::", "-"));
    assert(&name, text);
}

/// Replaces temporary folders, the folder of the sources, the version, and the commit that a refusal of other versions ends with.
fn redacted(text: &str) -> String {
    let mut text = text
        .replace(env!("CARGO_MANIFEST_DIR"), "[NUWAVE]")
        .replace(&format!(", is {}\n", nuwave::COMMIT), ", is [COMMIT]\n")
        .replace(nuwave::VERSION, "[VERSION]");
    let temporary = std::env::temp_dir().join(".tmp");
    let temporary = temporary.to_string_lossy().into_owned();
    while let Some(start) = text.find(&temporary) {
        let name = text[start + temporary.len()..]
            .find(|it: char| !it.is_ascii_alphanumeric())
            .map_or(text.len(), |length| start + temporary.len() + length);
        text.replace_range(start..name, "[FOLDER]");
    }
    text
}
