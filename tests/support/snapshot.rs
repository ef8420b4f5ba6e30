//! Snapshots of texts: the expected ones stand in `snapshots/` of the area (insta's format).

use std::cell::Cell;
use std::path::Path;

/// Asserts that `text` is that of the snapshot `name`, but for what differs from machine to machine.
#[track_caller]
pub fn assert(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    settings.set_snapshot_path(tests.join(env!("CARGO_CRATE_NAME")).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, redacted(text)));
}

/// Asserts that `text` is that of the next snapshot of the test that is running: they are counted.
#[track_caller]
pub fn assert_next(text: &str) {
    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }
    let number = COUNT.get() + 1;
    COUNT.set(number);
    let thread = std::thread::current();
    let thread_name = thread.name().expect("a test has a thread of its name");
    let name = format!("{}-{number}", thread_name.replace("::", "-"));
    assert(&name, text);
}

/// Replaces temporary folders, the folder of the sources, version and commit.
fn redacted(text: &str) -> String {
    let mut text = text
        .replace(env!("CARGO_MANIFEST_DIR"), "[NUWAVE]")
        .replace(&format!("({})", nuwave::COMMIT), "([COMMIT])")
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
