//! The parts of the documentation that are made from the code are what the code says. `UPDATE_DOCS=1 cargo test --test docs
//! generated` writes them.

use std::path::Path;

use crate::{read, reference, root};

/// Replaces each generated part of `text` by the one of the same name.
fn with_parts(path: &Path, text: &str, parts: &[(&str, String)]) -> String {
    let mut text = text.to_owned();
    for (name, part) in parts {
        let (begin, end) = (
            format!("<!-- generated: {name} -->\n"),
            format!("<!-- end: {name} -->"),
        );
        let from = text
            .find(&begin)
            .unwrap_or_else(|| panic!("{} has no line `{begin}`", path.display()))
            + begin.len();
        let upto = text[from..]
            .find(&end)
            .unwrap_or_else(|| panic!("{} has no line `{end}`", path.display()))
            + from;
        text.replace_range(from..upto, &format!("\n{part}\n"));
    }
    text
}

fn compare(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, expected).expect("the page is written");
        return;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text
        .lines()
        .zip(expected.lines())
        .position(|(is, should)| is != should);
    assert!(
        text == expected,
        "{} differs from the code (first in line {}): run `UPDATE_DOCS=1 cargo test --test docs generated`",
        path.display(),
        line.map_or(0, |line| line + 1)
    );
}

#[test]
fn the_page_of_the_output_is_up_to_date() {
    let path = root().join("docs/output.md");
    let expected = with_parts(&path, &read(&path), &reference::parts());
    compare(&path, &expected);
}

#[test]
fn the_command_reference_is_up_to_date() {
    compare(&root().join("docs/cli.md"), &reference::command_reference());
}
