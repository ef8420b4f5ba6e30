//! A preprocessor for WGSL, which has no `include`: a line `#import NAME` stands for the module of that name.
//!
//! A module is a file under `shaders/` (its path without the ending), or text that is generated from Rust definitions
//! (`generated/...`). Each module is taken once, after the modules that it imports itself. A kernel may choose between
//! implementations: it states which module to take for a name, e.g. `common/memory_device` for `memory`.

use std::borrow::Cow;
use std::collections::HashSet;

use super::shared_types::{
    CompactionSize, DispatchParameters, Hit, SharedStruct as _, Summary, TemplatePlan, Waveform,
};
use super::{bindings, constants};

macro_rules! shader_files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../shaders/", $name, ".wgsl")))),*]
    };
}

/// The files that others import.
const FILES: &[(&str, &str)] = shader_files![
    "baseline"
    "check_samples"
    "common/fft"
    "common/layout"
    "common/memory_device"
    "common/memory_workgroup"
    "common/prefix_sum"
    "common/scan_subgroup"
    "common/scan_workgroup"
    "common/state"
    "deconvolution/charge"
    "deconvolution/decimate"
    "deconvolution/deconvolve"
    "deconvolution/hit_finding"
    "deconvolution/moving_baseline"
    "deconvolution/residual_baseline"
    "deconvolution/time"
    "empty_waveform"
    "extract_deconvolution"
    "load_samples"
    "template_fit/add_pulses"
    "template_fit/capacity"
    "template_fit/iterate"
    "template_fit/normal_equations"
    "template_fit/pair_separation"
    "template_fit/priors"
    "template_fit/prune"
    "template_fit/seeds"
    "template_fit/state"
    "template_fit/template"
    "threshold/over_threshold"
];

/// Returns the text of a generated module.
type Generate = fn() -> String;

/// The buffers of results have its types.
const RESULTS: &str = "#import generated/results\n";

/// The modules that are generated.
const GENERATED: &[(&str, Generate)] = &[
    ("generated/results", || Summary::wgsl() + &Hit::wgsl()),
    ("generated/waveforms", || {
        let structs = Waveform::wgsl() + &TemplatePlan::wgsl() + &DispatchParameters::wgsl();
        RESULTS.to_owned() + &structs + &bindings::WAVEFORMS.wgsl()
    }),
    ("generated/state", constants::state),
    ("generated/state_buffer", || bindings::STATE.wgsl()),
    ("generated/compaction", || {
        RESULTS.to_owned() + &CompactionSize::wgsl() + &bindings::COMPACTION.wgsl()
    }),
    ("generated/flags", constants::flags),
    ("generated/methods", constants::methods),
    ("generated/extraction", constants::extraction),
    ("generated/template_fit", constants::template_fit),
];

/// Returns the text of a kernel's shader with all imports resolved, those of its modules too; modules may import the shader itself by
/// `name`. `choices` are pairs of an imported name and the module to take for it.
///
/// # Errors
/// If there is no module of an imported name.
pub fn resolve(name: &str, shader: &str, choices: &[(&str, &str)]) -> Result<String, String> {
    let mut text = String::new();
    let mut taken = HashSet::from([name.to_owned()]);
    append(shader, choices, &mut taken, &mut text)?;
    Ok(constants_first(&text))
}

/// Moves constants to the top, then override constants with a literal value or none, then those that are computed from others. naga
/// does not sort them: it refuses an array whose length is an override constant if the type of a constant comes later.
fn constants_first(text: &str) -> String {
    let mut parts = [const { String::new() }; 4];
    for line in text.lines() {
        let is_computed = || {
            let value = line.split_once('=').map_or("", |(_, value)| value);
            value.contains(|c: char| c.is_ascii_uppercase())
        };
        let part = if line.starts_with("const ") {
            0
        } else if line.starts_with("override ") {
            1 + usize::from(is_computed())
        } else {
            3
        };
        parts[part].push_str(line);
        parts[part].push('\n');
    }
    parts.concat()
}

fn append(
    module: &str,
    choices: &[(&str, &str)],
    taken: &mut HashSet<String>,
    text: &mut String,
) -> Result<(), String> {
    let mut own = String::new();
    for line in module.lines() {
        let Some(name) = line.trim_start().strip_prefix("#import ") else {
            own.push_str(line);
            own.push('\n');
            continue;
        };
        let name = name.trim();
        let chosen = choices.iter().find(|(wanted, _)| *wanted == name);
        let name = chosen.map_or(name, |&(_, module)| module);
        if taken.insert(name.to_owned()) {
            let imported =
                find(name).ok_or_else(|| format!("there is no shader module `{name}`"))?;
            append(&imported, choices, taken, text)?;
        }
    }
    text.push_str(&own);
    Ok(())
}

fn find(name: &str) -> Option<Cow<'static, str>> {
    let file = FILES.iter().find(|(file, _)| *file == name);
    let generated = || GENERATED.iter().find(|(module, _)| *module == name);
    match file {
        Some((_, text)) => Some(Cow::Borrowed(text)),
        None => generated().map(|(_, generate)| Cow::Owned(generate())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_come_once_and_before_their_users() {
        let text = resolve(
            "own",
            "#import generated/results\n#import common/prefix_sum\n#import own\nfn own() {}",
            &[],
        )
        .expect("modules that exist");
        assert!(!text.contains("#import"));
        let positions = ["struct Summary", "fn prefix_sum", "fn own"].map(|part| {
            assert_eq!(text.matches(part).count(), 1, "{part}");
            text.find(part)
        });
        assert!(positions.is_sorted(), "{positions:?}");
    }

    #[test]
    fn a_kernel_chooses_between_implementations() {
        let choose = |module| {
            resolve("own", "#import memory", &[("memory", module)]).expect("modules that exist")
        };
        assert!(choose("common/memory_device").contains("storageBarrier"));
        assert!(!choose("common/memory_workgroup").contains("storageBarrier"));
    }

    #[test]
    fn constants_come_first() {
        let text = resolve(
            "own",
            "fn own() {}\noverride B: u32 = 2u * A;\noverride A: u32 = 1u;\nconst C: u32 = 3u;",
            &[],
        );
        let expected =
            "const C: u32 = 3u;\noverride A: u32 = 1u;\noverride B: u32 = 2u * A;\nfn own() {}\n";
        assert_eq!(text.as_deref(), Ok(expected));
    }

    #[test]
    fn an_unknown_module_is_named() {
        let error = resolve("own", "#import common/nothing", &[]).expect_err("there is none");
        assert_eq!(error, "there is no shader module `common/nothing`");
    }
}
