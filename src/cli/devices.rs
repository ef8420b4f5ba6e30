//! `nuwave devices`: the GPU adapters of this machine, and the one that `auto` selects.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::{Verbosity, print, print_json};
use crate::gpu::adapter::{self, AdapterInfo};
use crate::pipeline::BackendChoice;

/// List the GPUs of this machine, and the one that `auto` selects
///
/// Any Vulkan adapter can be used, on macOS any Metal one, on Windows any DX12 one. `--adapter` takes the
/// index or a part of the name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Listing<'a> {
    adapters: Vec<&'a AdapterInfo>,
    /// Index of the adapter that `auto` selects; null: the CPU.
    auto: Option<usize>,
    /// The same as text.
    why: String,
}

pub(crate) fn run(_: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let all = adapter::list();
    let choice = BackendChoice::automatic(&all);
    let adapters: Vec<&AdapterInfo> = all.iter().map(|adapter| &adapter.info).collect();
    let auto = choice
        .adapter
        .as_ref()
        .and_then(|taken| adapters.iter().position(|info| **info == taken.info));
    if verbosity.json {
        let listing = Listing {
            adapters,
            auto,
            why: choice.line,
        };
        print_json("the listing", &listing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (index, info) in adapters.iter().enumerate() {
        describe(&mut text, index, info);
    }
    if adapters.is_empty() {
        text.push_str(
            "no GPU adapter\n  on Linux a Vulkan driver and its loader (`libvulkan1`) are needed; `mesa-vulkan-drivers` \
             brings a software one\n",
        );
    }
    // Writing to a `String` cannot fail.
    let skipped = adapters
        .iter()
        .find(|info| info.is_software())
        .filter(|_| choice.adapter.is_none());
    let line = choice.line.replacen(": ", " ", 1);
    let _ = match skipped {
        Some(info) => writeln!(
            text,
            "auto takes {line}; `--backend gpu` takes {}, a software rasteriser",
            info.name
        ),
        None => writeln!(text, "auto takes {line}"),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(text: &mut String, index: usize, info: &AdapterInfo) {
    const MIB: u64 = 1 << 20;
    let (smallest, largest) = info.subgroup;
    let features = if info.features.is_empty() {
        "none of those nuwave could use".to_owned()
    } else {
        info.features.join(", ")
    };
    let use_of_it = match &info.unusable {
        Some(why) => format!("cannot be used: {why}"),
        None if info.uses_subgroups => {
            format!("workgroups of {} threads, by subgroups", info.width)
        }
        None => format!("workgroups of {} threads", info.width),
    };
    let lines = [
        ("kind", format!("{}, {}", info.kind, info.api)),
        ("driver", info.driver.clone()),
        (
            "limits",
            format!(
                "{} MiB per binding, {} MiB per buffer, {} KiB and {} threads per workgroup, subgroups of {smallest} to {largest}",
                info.binding_bytes / MIB,
                info.buffer_bytes / MIB,
                info.workgroup_bytes / 1024,
                info.workgroup_threads,
            ),
        ),
        ("features", features),
        ("nuwave", use_of_it),
    ];
    let _ = writeln!(text, "{index}  {}", info.name);
    for (name, value) in lines {
        let _ = writeln!(text, "   {name:<9} {value}");
    }
}
