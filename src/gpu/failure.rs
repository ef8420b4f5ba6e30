//! What can go wrong on a device, and how a test makes it go wrong.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Why a chunk of work did not come back. Every one of them is answered by doing the chunk again elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device is gone: driver reset, unplugged, destroyed.
    Lost(String),
    /// No memory for buffers.
    OutOfMemory(String),
    /// Nothing came back within the time limit.
    Hang,
    /// A pipeline or a command was refused: a defect of a driver, or of nuwave.
    Refused(String),
}

impl Failure {
    /// A buffer that should be mapped is not.
    pub(super) fn not_mapped(error: &wgpu::MapRangeError) -> Self {
        Self::Lost(format!("a buffer is not mapped: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "device lost: {why}"),
            Self::OutOfMemory(why) => write!(f, "out of device memory: {why}"),
            Self::Hang => f.write_str("nothing came back within the time limit"),
            Self::Refused(why) => write!(f, "refused by the device: {why}"),
        }
    }
}

/// A failure to bring about at one step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Destroy the device.
    Lose,
    /// Pretend that there is no memory.
    OutOfMemory,
    /// Pretend that nothing comes back.
    Hang,
    /// Pretend that a command was refused.
    Refuse,
    /// Never hear of what was submitted, and a moment later that the device is lost: what a driver does when it fails. Only
    /// where something is submitted.
    Vanish,
}

/// Failures to bring about, for tests of what happens then: each at its step, once. A chunk of work has the steps prepare, upload,
/// submit and read; they are counted over the run, over all devices.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Vec<(u64, Fault)>,
    step: AtomicU64,
}

impl Faults {
    /// The failures of `plan`: step and kind.
    #[must_use]
    pub fn new(plan: Vec<(u64, Fault)>) -> Self {
        Self {
            plan,
            step: AtomicU64::new(0),
        }
    }

    /// Counts a step, and says what has to fail at it.
    pub(super) fn at_next_step(&self) -> Option<Fault> {
        let step = self.step.fetch_add(1, Ordering::Relaxed);
        self.plan
            .iter()
            .find(|(at, _)| *at == step)
            .map(|(_, fault)| *fault)
    }
}

impl FromStr for Faults {
    type Err = Error;

    /// From `lose@7,hang@20`: what `NUWAVE_GPU_FAULTS` holds.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage(format!("`NUWAVE_GPU_FAULTS`: `{text}` is no list of faults")).with_hint(
                "a list is `lose@7,memory@12,hang@20,refuse@31,vanish@42`: what fails, and at which step",
            )
        };
        let plan = text
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (fault, step) = part.split_once('@').ok_or_else(wrong)?;
                let fault = match fault {
                    "lose" => Fault::Lose,
                    "memory" => Fault::OutOfMemory,
                    "hang" => Fault::Hang,
                    "refuse" => Fault::Refuse,
                    "vanish" => Fault::Vanish,
                    _ => return Err(wrong()),
                };
                Ok((step.parse().map_err(|_| wrong())?, fault))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self::new(plan))
    }
}
