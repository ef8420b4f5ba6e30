//! `nuwave devices`: the adapters this machine offers, and which one `auto` takes.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::Talk;
use super::backend::automatic;
use crate::error::{Error, Result};
use crate::gpu::adapter::{self, Facts};

/// List the GPUs of this machine, and which one `auto` takes
///
/// Any Vulkan adapter can be used, on macOS any Metal one, on Windows any DX12 one. The place or a part of the name
/// is what `--adapter` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Listing<'a> {
    adapters: Vec<&'a Facts>,
    /// Place of what `auto` takes; null: the CPU.
    auto: Option<usize>,
    /// The same for a person.
    why: String,
}

pub(crate) fn run(_: &Args, talk: Talk) -> Result<ExitCode> {
    let all = adapter::all();
    let choice = automatic(&all);
    let adapters: Vec<&Facts> = all.iter().map(|adapter| &adapter.facts).collect();
    let auto = choice
        .adapter
        .as_ref()
        .and_then(|taken| adapters.iter().position(|facts| **facts == taken.facts));
    if talk.json {
        let listing = Listing {
            adapters,
            auto,
            why: choice.line,
        };
        let text = serde_json::to_string_pretty(&listing)
            .map_err(|error| Error::internal(format!("the listing: {error}")))?;
        super::print(&(text + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (place, facts) in adapters.iter().enumerate() {
        describe(&mut text, place, facts);
    }
    if adapters.is_empty() {
        text.push_str(
            "no GPU adapter\n  on Linux a Vulkan driver and its loader (`libvulkan1`) are needed; `mesa-vulkan-drivers` \
             brings a software one\n",
        );
    }
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "auto takes {}", choice.line.replacen(": ", " ", 1));
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(text: &mut String, place: usize, facts: &Facts) {
    const MIB: u64 = 1 << 20;
    let (smallest, largest) = facts.subgroup;
    let features = if facts.features.is_empty() {
        "none of those nuwave could use".to_owned()
    } else {
        facts.features.join(", ")
    };
    let use_of_it = match &facts.unusable {
        Some(why) => format!("cannot be used: {why}"),
        None if facts.by_subgroups => {
            format!("workgroups of {} threads, by subgroups", facts.width)
        }
        None => format!("workgroups of {} threads", facts.width),
    };
    let lines = [
        ("kind", format!("{}, {}", facts.kind, facts.api)),
        ("driver", facts.driver.clone()),
        (
            "limits",
            format!(
                "{} MiB a binding, {} MiB a buffer, {} KiB and {} threads a workgroup, subgroups of {smallest} to {largest}",
                facts.binding_bytes / MIB,
                facts.buffer_bytes / MIB,
                facts.workgroup_bytes / 1024,
                facts.workgroup_threads,
            ),
        ),
        ("features", features),
        ("nuwave", use_of_it),
    ];
    let _ = writeln!(text, "{place}  {}", facts.name);
    for (name, value) in lines {
        let _ = writeln!(text, "   {name:<9} {value}");
    }
}
