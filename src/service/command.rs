//! Commands: the output and the options of a request, from a Flight descriptor or KServe parameters.

use serde::{Deserialize, Serialize};

use super::rejection::Rejection;
use crate::extract::Method;

/// The table that a request returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Hits.
    #[default]
    Hits,
    /// Waveform summaries.
    Waveforms,
    /// Events: vertex, time and energy.
    Events,
}

impl Output {
    /// All outputs.
    pub const ALL: [Self; 3] = [Self::Hits, Self::Waveforms, Self::Events];

    /// Returns the name in commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Waveforms => "waveforms",
            Self::Events => "events",
        }
    }
}

/// The command of a client. Options that are absent have the values of the service's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// The table to return.
    pub output: Output,
    /// The extraction method.
    pub method: Option<Method>,
    /// The name of a calibration of the service.
    pub calibration: Option<String>,
}

impl Command {
    /// Parses a command; empty `bytes` are the command for hits.
    ///
    /// # Errors
    /// If `bytes` are not the JSON of a command.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Rejection::malformed(format!(
                "malformed command: {error}; expected {{\"output\": \"hits\"}} with optional `method` and `calibration`"
            ))
        })
    }
}
