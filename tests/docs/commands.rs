//! The commands of the README and of the tutorial run as typed, in a fresh folder.
//!
//! The blocks that are marked `sh` run in order, in one shell. The folder has `testdata` and `examples` of the repository, and two
//! substitutes: `cargo run --release --locked --` starts the binary of the tests, `cargo install` and `scripts/test` do nothing.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::{read, root};

const CARGO: &str = r#"#!/bin/sh
case "$*" in
"run --release --locked -- "*) shift 4; exec nuwave "$@" ;;
"install --locked --path .") ;;
*) echo "the test knows no \`cargo $*\`" >&2; exit 1 ;;
esac
"#;

/// Returns the code blocks of a page that are marked with one of `languages`, each with its language.
fn blocks(text: &str, languages: &[&str]) -> Vec<(String, String)> {
    let (mut blocks, mut block) = (Vec::new(), None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if languages.contains(&&*language) =>
            {
                block = Some((language.into_string(), String::new()));
            }
            Event::Text(text) => {
                if let Some((_, code)) = &mut block {
                    code.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
            _ => (),
        }
    }
    blocks
}

fn write_script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// Runs the blocks of `page` and returns the folder in which they ran.
fn run(page: &str, languages: &[&str]) -> tempfile::TempDir {
    let blocks = blocks(&read(&root().join(page)), languages);
    assert!(blocks.len() > 2, "{page} has {} blocks", blocks.len());
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["testdata", "examples"] {
        symlink(root().join(name), folder.path().join(name)).expect("a link");
    }
    let programs = folder.path().join(".programs");
    write_script(&programs.join("cargo"), CARGO);
    write_script(&folder.path().join("scripts/test"), "#!/bin/sh\n");
    symlink(env!("CARGO_BIN_EXE_nuwave"), programs.join("nuwave")).expect("a link");
    let mut script = String::from("set -euo pipefail\n");
    for (language, code) in &blocks {
        if language == "python" {
            let python = std::env::var("NUWAVE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
            for part in [
                "'",
                &python,
                "' - <<'END_OF_PYTHON'\n",
                code,
                "END_OF_PYTHON\n",
            ] {
                script += part;
            }
        } else {
            script += code;
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-x", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", programs.display()))
        .output()
        .expect("bash");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{page}: {}\n{log}", output.status);
    folder
}

fn assert_files(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        let length = std::fs::metadata(&path).map_or(0, |file| file.len());
        assert!(length > 100, "{name}: {length} bytes");
    }
}

#[test]
fn the_readme() {
    let folder = run("README.md", &["sh"]);
    assert_files(
        folder.path(),
        &[
            "out/jinping60/report.json",
            "event.svg",
            "spe.parquet",
            "waveforms.svg",
        ],
    );
}

#[test]
fn the_tutorial() {
    let folder = run("docs/tutorial.md", &["sh"]);
    assert_files(folder.path(), &["hits/report.json", "spe.parquet"]);
}

#[test]
#[ignore = "needs Python with pyarrow"]
fn the_tutorial_with_its_python() {
    run("docs/tutorial.md", &["sh", "python"]);
}

#[test]
fn a_failing_command_is_noticed() {
    let text = "```sh\ntrue\n```\n```text\nfalse\n```\n```sh\nfalse\n```\n";
    assert_eq!(
        blocks(text, &["sh"])
            .iter()
            .map(|(_, code)| code.as_str())
            .collect::<Vec<_>>(),
        ["true\n", "false\n"]
    );
}
