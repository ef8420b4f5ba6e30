//! `nuwave flags`: the flags of the output tables, and what a value of the column `flags` means.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::flag_reference::FLAG_DESCRIPTIONS;
use super::{Verbosity, print, print_json};
use crate::error::{Error, Result};
use crate::model::Flags;

/// Explain the flags of the output tables
///
/// Without an argument all flags are listed, with the tables in which they occur, their cause, and what to do. With values of
/// the column `flags`, or names of flags, those are explained.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nuwave flags                    all flags\n  \
    nuwave flags 128                the flags of the value 128\n  \
    nuwave flags 0x800080 pile_up   values in hexadecimal, and names")]
pub(crate) struct Args {
    /// Values of the column `flags` (decimal or hexadecimal), or names of flags
    #[arg(value_name = "VALUE|NAME")]
    values: Vec<String>,
}

#[derive(Serialize)]
struct Explained {
    name: &'static str,
    bit: u32,
    value: u32,
    tables: &'static [&'static str],
    meaning: &'static str,
    cause: &'static str,
    advice: &'static str,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    if args.values.is_empty() {
        let all = explained(Flags(u32::MAX));
        if verbosity.json {
            print_json("the flags", &all)?;
        } else {
            print(&all.iter().map(text).collect::<Vec<_>>().join("\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut texts = Vec::new();
    let mut lists = Vec::new();
    for given in &args.values {
        let flags = parse(given)?;
        let list = explained(flags);
        let names: Vec<&str> = list.iter().map(|flag| flag.name).collect();
        let names = if names.is_empty() {
            "no flag".to_owned()
        } else {
            names.join(", ")
        };
        let heading = format!("{} (0x{:x}): {names}\n\n", flags.0, flags.0);
        let body: Vec<String> = list.iter().map(text).collect();
        texts.push((heading + &body.join("\n")).trim_end().to_owned() + "\n");
        lists.push(list);
    }
    if verbosity.json {
        print_json("the flags", &lists)?;
    } else {
        print(&texts.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the flags that `given` states, as a number or as a name.
fn parse(given: &str) -> Result<Flags> {
    let number = match given.strip_prefix("0x").or(given.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => given.parse().ok(),
    };
    let named = || Flags::by_name(&given.to_lowercase()).map(|(flag, _)| flag);
    let Some(flags) = number.map(Flags).or_else(named) else {
        return Err(Error::usage(format!(
            "`{given}` is neither a value of the column `flags` nor the name of a flag"
        ))
        .with_hint("`nuwave flags` lists all flags"));
    };
    let known = Flags::ALL
        .into_iter()
        .fold(0, |all, (flag, _, _)| all | flag.0);
    let unknown = flags.0 & !known;
    if unknown != 0 {
        return Err(Error::usage(format!(
            "{given}: this version of nuwave has no flag for the bits 0x{unknown:x}"
        ))
        .with_hint("the value is not one of the column `flags`, or a newer nuwave wrote it"));
    }
    Ok(flags)
}

/// Returns the flags that are set in `flags`, in the order of their bits.
fn explained(flags: Flags) -> Vec<Explained> {
    FLAG_DESCRIPTIONS
        .iter()
        .zip(Flags::ALL)
        .filter(|(_, (flag, _, _))| flags.contains(*flag))
        .map(|(description, (flag, name, meaning))| Explained {
            name,
            bit: flag.0.trailing_zeros(),
            value: flag.0,
            tables: description.tables,
            meaning,
            cause: description.cause,
            advice: description.advice,
        })
        .collect()
}

fn text(flag: &Explained) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "{} (bit {}, value {}), in {}",
        flag.name,
        flag.bit,
        flag.value,
        flag.tables.join(" and ")
    );
    for (name, value) in [
        ("meaning", flag.meaning),
        ("cause", flag.cause),
        ("what to do", flag.advice),
    ] {
        let _ = writeln!(text, "  {name:<11} {value}");
    }
    text
}
