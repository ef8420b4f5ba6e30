//! The library gives hints as data; only the command line knows its options.

use std::path::Path;

/// The lines of string literals outside `src/cli` that name an option, as `file:line`.
pub fn texts_with_options(src: &Path) -> Vec<String> {
    let mut found = Vec::new();
    visit(src, &mut |file, text| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, number) in code.lines().zip(1..) {
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && (line.contains("`--") || line.contains("`-o`")) {
                found.push(format!("{}:{number}", file.display()));
            }
        }
    });
    found
}

fn visit(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "cli") {
                visit(&path, each);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            each(&path, &std::fs::read_to_string(&path).expect("text"));
        }
    }
}
