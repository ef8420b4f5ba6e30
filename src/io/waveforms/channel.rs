//! The channel of inputs that have no column of channels: from the user, or from the names that WaveDump gives its files.

use std::path::Path;
use std::str::FromStr;

/// The place of the channel's number in a pattern.
const PLACEHOLDER: &str = "{channel}";

/// The channel of inputs that state none: a number, or a pattern of names that contain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelId {
    /// The same channel for every input.
    Number(u32),
    /// The number in the name of the file or group.
    Pattern(NamePattern),
}

/// A pattern of names such as `run_{channel}.npy`: `{channel}` stands for digits, `*` for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    pub(super) text: String,
    before: glob::Pattern,
    after: glob::Pattern,
    /// Number of folders that the pattern names as well.
    n_folders: usize,
}

impl FromStr for ChannelId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.trim().parse() {
            return Ok(Self::Number(number));
        }
        let wrong = || {
            format!(
                "`{text}` is neither a channel number nor a pattern of names with `{PLACEHOLDER}` once, as `run_{PLACEHOLDER}.npy`"
            )
        };
        let plain = text.trim_matches('/');
        let (before, after) = plain.split_once(PLACEHOLDER).ok_or_else(wrong)?;
        if after.contains(PLACEHOLDER) {
            return Err(wrong());
        }
        Ok(Self::Pattern(NamePattern {
            text: text.to_owned(),
            before: glob::Pattern::new(before).map_err(|_| wrong())?,
            after: glob::Pattern::new(after).map_err(|_| wrong())?,
            n_folders: plain.matches('/').count(),
        }))
    }
}

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Pattern(pattern) => f.write_str(&pattern.text),
        }
    }
}

impl NamePattern {
    /// Returns the number in a name of a file or group, whose parts are separated by `/`. The pattern is compared with as many
    /// of the last parts as it has itself.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        let first = parts.len().checked_sub(self.n_folders + 1)?;
        let name = parts.get(first..)?.join("/");
        let is_digit = |index: usize| name.as_bytes().get(index).is_some_and(u8::is_ascii_digit);
        (0..name.len())
            .filter(|&begin| is_digit(begin))
            .find_map(|begin| {
                let end = (begin..=name.len()).find(|&end| !is_digit(end))?;
                let is_match =
                    self.before.matches(name.get(..begin)?) && self.after.matches(name.get(end..)?);
                name.get(begin..end)?.parse().ok().filter(|_| is_match)
            })
    }
}

/// How the channel of an input is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelOrigin {
    /// The input states it for every waveform.
    #[default]
    Stated,
    /// The user states it, or it is in a name.
    Named,
    /// It is not known, and 0.
    Unknown,
}

/// Returns the channel in a file name of WaveDump: `wave3.dat`, `wave_3.txt`.
pub(super) fn wavedump_channel(path: &Path) -> Option<u32> {
    let name = path.file_stem()?.to_str()?.to_ascii_lowercase();
    let digits = name.strip_prefix("wave")?;
    let digits = digits.strip_prefix('_').unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Returns the pattern of file names, or of the last folders and file names, that differ by one number only.
pub(crate) fn common_pattern(paths: &[&Path]) -> Option<String> {
    for n_folders in 0..3 {
        let names: Option<Vec<String>> = paths
            .iter()
            .map(|path| {
                let parts: Vec<_> = path
                    .components()
                    .map(|part| part.as_os_str().to_string_lossy())
                    .collect();
                let first = parts.len().checked_sub(n_folders + 1)?;
                Some(parts.get(first..)?.join("/"))
            })
            .collect();
        let names = names?;
        let tokens: Vec<Vec<&str>> = names.iter().map(|name| tokens(name)).collect();
        let (first, others) = tokens.split_first()?;
        let differing: Vec<usize> = (0..first.len())
            .filter(|&index| {
                others
                    .iter()
                    .any(|other| other.get(index) != first.get(index))
            })
            .collect();
        let is_alike = others.iter().all(|other| other.len() == first.len());
        match differing.as_slice() {
            [] if is_alike => {}
            &[index] if is_alike => {
                let is_number = |tokens: &Vec<&str>| {
                    let token = tokens.get(index).copied().unwrap_or_default();
                    token.starts_with(|it: char| it.is_ascii_digit())
                };
                let mut pattern: Vec<&str> = first.clone();
                *pattern.get_mut(index)? = PLACEHOLDER;
                return tokens.iter().all(is_number).then(|| pattern.concat());
            }
            _ => return None,
        }
    }
    None
}

/// Divides a name into numbers and what is between them.
fn tokens(name: &str) -> Vec<&str> {
    name.as_bytes()
        .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .scan(0, |begin, chunk| {
            let token = name.get(*begin..*begin + chunk.len());
            *begin += chunk.len();
            token
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_the_number_in_a_name() {
        for (pattern, name, number) in [
            ("run_{channel}.npy", "data/run_12.npy", Some(12)),
            ("run_{channel}.npy", "data/run_12.npz", None),
            ("run7_{channel}.npy", "run7_3.npy", Some(3)),
            ("*{channel}.npy", "run12.npy", Some(12)),
            ("*_{channel}_*", "run_7_late.npy", Some(7)),
            ("ch{channel}/data.npy", "/x/ch04/data.npy", Some(4)),
            ("ch{channel}", "raw/ch31", Some(31)),
            ("/ch{channel}/waveforms", "ch31/waveforms", Some(31)),
            ("run_{channel}.npy", "run_99999999999.npy", None),
        ] {
            let parsed: ChannelId = pattern.parse().expect("a pattern");
            let ChannelId::Pattern(parsed) = parsed else {
                panic!("{pattern} is a number");
            };
            assert_eq!(parsed.number(name), number, "{pattern} {name}");
        }
        assert_eq!("17".parse(), Ok(ChannelId::Number(17)));
        for wrong in ["", "-1", "run.npy", "{channel}{channel}", "[{channel}"] {
            assert!(wrong.parse::<ChannelId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_differ_by_a_number_give_a_pattern() {
        let pattern = |names: &[&str]| {
            let paths: Vec<&Path> = names.iter().map(Path::new).collect();
            common_pattern(&paths)
        };
        let one = |text: &str| Some(text.to_owned());
        assert_eq!(
            pattern(&["a/run7_0.npy", "a/run7_12.npy"]),
            one("run7_{channel}.npy")
        );
        assert_eq!(
            pattern(&["ch0/w.npy", "ch1/w.npy"]),
            one("ch{channel}/w.npy")
        );
        assert_eq!(pattern(&["a.npy", "b.npy"]), None);
        assert_eq!(pattern(&["a1_1.npy", "a2_2.npy"]), None);
    }

    #[test]
    fn only_names_of_wavedump_state_a_channel_by_themselves() {
        let channel = |name: &str| wavedump_channel(Path::new(name));
        assert_eq!(channel("a/wave3.dat"), Some(3));
        assert_eq!(channel("wave_12.txt"), Some(12));
        for other in [
            "wave.dat",
            "wave3_late.dat",
            "run3.dat",
            "TR_0_0.dat",
            "wave+3.dat",
        ] {
            assert_eq!(channel(other), None, "{other}");
        }
    }
}
