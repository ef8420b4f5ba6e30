//! The detectors inside the binary, each the text of a detector file.

/// Name and detector file (TOML text, commented) of every preset.
pub const PRESETS: &[(&str, &str)] = &[
    ("juno", include_str!("presets/juno.toml")),
    ("jinping", include_str!("presets/jinping.toml")),
    ("daya-bay", include_str!("presets/daya-bay.toml")),
    ("back-n", include_str!("presets/back-n.toml")),
    ("lab", include_str!("presets/lab.toml")),
];
