//! What a client wants done with its waveforms, as it says in a descriptor or in parameters.

use serde::{Deserialize, Serialize};

use super::rejection::Rejection;
use crate::extract::Method;

/// What comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Every hit.
    #[default]
    Hits,
    /// A summary of every waveform.
    Waveforms,
    /// Vertex, time and energy of every event.
    Events,
}

impl Output {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hits, Self::Waveforms, Self::Events];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Waveforms => "waveforms",
            Self::Events => "events",
        }
    }
}

/// A client's wish; what it leaves out is as the service was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// What comes back.
    pub output: Output,
    /// How charge and time are taken.
    pub method: Option<Method>,
    /// One of the service's calibrations, by its name.
    pub calibration: Option<String>,
}

impl Command {
    /// The command in `bytes`; nothing at all is the command for hits.
    ///
    /// # Errors
    /// If it is not the JSON of a command.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Rejection::malformed(format!(
                "the command is not understood: {error}; write it as {{\"output\": \"hits\"}}, with `method` and `calibration` if need be"
            ))
        })
    }
}
