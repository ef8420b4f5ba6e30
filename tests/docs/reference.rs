//! Renders what the code knows about tables, flags, exit codes, the report and the command line, as Markdown.

use std::fmt::Write as _;

use nuwave::cli::{EXIT_CODES, FLAG_DESCRIPTIONS};
use nuwave::io::tables::columns::{Column, EVENTS, HITS, WAVEFORMS};
use nuwave::model::Flags;

/// The structs of `report.json`, in the order of their description: title, source file, name.
const REPORT: [(&str, &str, &str); 14] = [
    ("", "src/pipeline/report/mod.rs", "Report"),
    ("`inputs[]`", "src/pipeline/report/mod.rs", "InputReport"),
    ("`inputs[].expected`", "src/pipeline/facts.rs", "Expected"),
    ("`totals`", "src/pipeline/report/mod.rs", "Totals"),
    (
        "`events`, where there is a table",
        "src/pipeline/report/events.rs",
        "Present",
    ),
    (
        "`outputs[]` and `units[].parts[]`",
        "src/io/tables/write.rs",
        "Part",
    ),
    ("`gpu`", "src/extract/backend.rs", "BackendReport"),
    (
        "`losses[]`, with `input_id` and `block`",
        "src/io/waveforms/source.rs",
        "Loss",
    ),
    ("`warnings[]`", "src/pipeline/report/mod.rs", "InputWarning"),
    ("`units[]`", "src/pipeline/record.rs", "UnitReport"),
    ("`units[].observed`", "src/pipeline/facts.rs", "Observed"),
    (
        "`units[].fall_back`",
        "src/pipeline/duplicates/mod.rs",
        "FallBack",
    ),
    ("`timings`", "src/pipeline/report/mod.rs", "Timings"),
    (
        "`timings.units[]`, with `input_id`, `block` and `waveforms_per_s`",
        "src/pipeline/record.rs",
        "UnitTimings",
    ),
];

/// Returns the generated parts of `docs/output.md` by name.
pub fn parts() -> Vec<(&'static str, String)> {
    vec![
        ("hits", columns_table(&HITS)),
        ("waveforms", columns_table(&WAVEFORMS)),
        ("events", columns_table(&EVENTS)),
        ("flags", flags_table()),
        ("flag-details", flag_details()),
        ("report", report()),
        ("exit-codes", exit_codes()),
    ]
}

/// Returns the command reference.
pub fn command_reference() -> String {
    let options = clap_markdown::MarkdownOptions::new()
        .title("Command reference".to_owned())
        .show_footer(false)
        .show_table_of_contents(false);
    let command = nuwave::cli::command();
    let reference = clap_markdown::help_markdown_command_custom(&command, &options);
    let reference = reference.replacen(
        "This document contains the help content for the `nuwave` command-line program.",
        "All commands and options, made from `nuwave COMMAND --help`. Options of `reconstruct` and `serve` are also keys of their `--config` files, with `_` \
         for `-`.",
        1,
    );
    let mut text = String::new();
    // After the usage come examples and notes, which are laid out for a terminal.
    let mut notes: Option<Vec<&str>> = None;
    for line in reference.lines().map(str::trim_end) {
        if let Some(kept) = &mut notes {
            if !line.starts_with('#') {
                kept.push(line);
                continue;
            }
            let kept = kept.join("\n");
            if !kept.trim().is_empty() {
                let _ = write!(text, "\n```text\n{}\n```\n", kept.trim_matches('\n'));
            }
            text.push('\n');
            notes = None;
        }
        let line = line.trim_start_matches("###### ");
        let line = match line
            .strip_prefix("**")
            .and_then(|line| line.strip_suffix(":**"))
        {
            Some(title) => format!("**{title}**"),
            None => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("**Usage:**") {
            notes = Some(Vec::new());
        }
    }
    // A usage line of its own already has the name of the program.
    text = text.replace("`nuwave nuwave ", "`nuwave ");
    for name in switches(&command) {
        text = text
            .replace(&format!("` <{name}>`"), "`")
            .replace(&format!(" <{name}>`"), "`");
    }
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text.trim_end().to_owned() + "\n"
}

/// Returns the value names of options that take no value, which the reference states nevertheless.
fn switches(command: &clap::Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter(|argument| argument.get_num_args() == Some(0.into()))
        .map(|argument| argument.get_id().as_str().to_uppercase());
    let below = command.get_subcommands().flat_map(switches);
    own.chain(below).collect()
}

fn columns_table(columns: &[Column]) -> String {
    let mut table =
        "| column | type | unit | missing | meaning |\n|---|---|---|---|---|\n".to_owned();
    for column in columns {
        let kind = match column.data_type.to_string().as_str() {
            "UInt32" => "u32",
            "UInt64" => "u64",
            "Float32" => "f32",
            "Float64" => "f64",
            other => panic!("{other} has no name here"),
        };
        let _ = writeln!(
            table,
            "| `{}` | {kind} | {} | {} | {} |",
            column.name, column.unit, column.missing, column.description
        );
    }
    table
}

fn flags_table() -> String {
    let mut table =
        "| value | bit | flag | tables | meaning |\n|---:|---:|---|---|---|\n".to_owned();
    for (description, (flag, name, meaning)) in FLAG_DESCRIPTIONS.iter().zip(Flags::ALL) {
        let _ = writeln!(
            table,
            "| {} | {} | `{name}` | {} | {meaning} |",
            flag.0,
            flag.0.trailing_zeros(),
            description.tables.join(", ")
        );
    }
    table
}

fn flag_details() -> String {
    let mut table = "| flag | cause | what to do |\n|---|---|---|\n".to_owned();
    for (description, (_, name, _)) in FLAG_DESCRIPTIONS.iter().zip(Flags::ALL) {
        let _ = writeln!(
            table,
            "| `{name}` | {} | {} |",
            description.cause, description.advice
        );
    }
    table
}

fn exit_codes() -> String {
    let mut table = "| code | meaning | what a script should do |\n|---:|---|---|\n".to_owned();
    for code in EXIT_CODES {
        let _ = writeln!(
            table,
            "| {} | {} | {} |",
            code.code, code.meaning, code.advice
        );
    }
    table
}

fn report() -> String {
    let mut text = String::new();
    for (title, path, name) in REPORT {
        if !title.is_empty() {
            let _ = writeln!(text, "\n**{title}**\n");
        }
        text.push_str("| key | meaning |\n|---|---|\n");
        let source = super::read(&super::root().join(path));
        let fields = fields(&source, name);
        assert!(!fields.is_empty(), "{path} has no fields of {name}");
        for (key, meaning) in fields {
            let _ = writeln!(text, "| `{key}` | {meaning} |");
        }
    }
    text
}

/// Returns the fields of the struct or variant `name` with their doc comments, without those that are not serialized.
fn fields(source: &str, name: &str) -> Vec<(String, String)> {
    let begin = [format!("pub struct {name} {{"), format!("    {name} {{")];
    let mut lines = source
        .lines()
        .skip_while(|line| !begin.iter().any(|begin| line == begin))
        .skip(1);
    let mut fields = Vec::new();
    let (mut doc, mut skip) = (Vec::new(), false);
    for line in &mut lines {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if line == "#[serde(skip)]" || line == "#[serde(flatten)]" {
            skip = true;
        } else if let Some((key, _)) = line.trim_start_matches("pub ").split_once(": ") {
            if !skip {
                let meaning = doc
                    .join(" ")
                    .replace("[`crate::RESULTS_VERSION`]", "The results version");
                fields.push((
                    key.to_owned(),
                    meaning.trim_end_matches('.').replace('|', "\\|"),
                ));
            }
            doc.clear();
            skip = false;
        } else if line.starts_with('}') {
            break;
        }
    }
    fields
}
