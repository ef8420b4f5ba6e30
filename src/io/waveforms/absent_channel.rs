//! Inputs that state no channels: which channel are they, and are several of them merged?

use std::path::Path;

use super::channel::{ChannelId, ChannelOrigin, common_pattern, wavedump_channel};
use super::source::{ReadOptions, Remark, SourceInfo};
use crate::error::{Error, Result};

impl SourceInfo {
    /// Returns the channel of an input without channels, and describes it. `is_wavedump` is true if the file may have the name
    /// that WaveDump gives it.
    pub(crate) fn name_channel(&mut self, options: &ReadOptions, is_wavedump: bool) -> Result<u32> {
        let (number, origin, words) = match &options.channel_id {
            Some(ChannelId::Number(number)) => (*number, ChannelOrigin::Named, " (as stated)"),
            Some(ChannelId::Pattern(pattern)) => {
                let name = self.path.to_string_lossy().replace('\\', "/");
                let number = pattern.number(&name).ok_or_else(|| {
                    Error::input(
                        &self.path,
                        format!(
                            "states no channels, and its name does not fit the pattern `{}` of the channels",
                            pattern.text
                        ),
                    )
                })?;
                (number, ChannelOrigin::Named, " (from the name)")
            }
            None => match wavedump_channel(&self.path).filter(|_| is_wavedump) {
                Some(number) => {
                    self.remarks.push(Remark::note(
                        "the channel is the number in the name of the file".to_owned(),
                    ));
                    (number, ChannelOrigin::Named, " (from the name)")
                }
                None => (0, ChannelOrigin::Unknown, ""),
            },
        };
        self.channel_origin = origin;
        self.layout = format!("{}, channel = {number}{words}", self.layout);
        Ok(number)
    }
}

/// Inputs without channels that would all become channel 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedChannels {
    /// The first of them.
    pub first: std::path::PathBuf,
    /// Their number.
    pub count: usize,
    /// The pattern that takes the channels from their names, if the names differ by a number.
    pub pattern: Option<String>,
}

impl MergedChannels {
    /// Returns the inputs whose channel is not known, if there is more than one.
    #[must_use]
    pub fn find<'a>(infos: impl IntoIterator<Item = &'a SourceInfo>) -> Option<Self> {
        let unknown: Vec<&Path> = infos
            .into_iter()
            .filter(|info| info.channel_origin == ChannelOrigin::Unknown)
            .map(|info| info.path.as_path())
            .collect();
        let &[first, _, ..] = unknown.as_slice() else {
            return None;
        };
        Some(Self {
            first: first.to_owned(),
            count: unknown.len(),
            pattern: common_pattern(&unknown),
        })
    }
}

impl std::fmt::Display for MergedChannels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} inputs state no channels, the first is `{}`: all their waveforms are channel 0",
            self.count,
            self.first.display()
        )
    }
}
