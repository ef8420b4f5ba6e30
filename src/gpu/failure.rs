//! Failures of a device, and their injection by tests.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Why a chunk has no result. After every failure the chunk is extracted again elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device is lost: driver reset, unplugged, destroyed.
    Lost(String),
    /// No memory for buffers.
    OutOfMemory(String),
    /// There was no result within the time limit.
    Hang,
    /// A pipeline or a command was refused, because of a defect of the driver or of nuwave.
    Refused(String),
}

impl Failure {
    /// Returns the failure of a buffer that should be mapped and is not.
    pub(super) fn not_mapped(error: &wgpu::MapRangeError) -> Self {
        Self::Lost(format!("a buffer is not mapped: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "device lost: {why}"),
            Self::OutOfMemory(why) => write!(f, "out of device memory: {why}"),
            Self::Hang => f.write_str("no result within the time limit"),
            Self::Refused(why) => write!(f, "refused by the device: {why}"),
        }
    }
}

/// A failure to inject at one step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Destroy the device.
    Lose,
    /// Pretend that there is no memory.
    OutOfMemory,
    /// Pretend that there is no result.
    Hang,
    /// Pretend that a command was refused.
    Refuse,
    /// Ignore what was submitted, and report a moment later that the device is lost, as a failing driver does. Only at steps that
    /// submit something.
    Vanish,
}

/// Failures to inject, for tests: each at its step, once. A chunk has the steps prepare, upload, submit and read; they are counted
/// over the run, across all devices.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Vec<(u64, Fault)>,
    step: AtomicU64,
}

impl Faults {
    /// Returns the failures of `plan`: step and kind.
    #[must_use]
    pub fn new(plan: Vec<(u64, Fault)>) -> Self {
        Self {
            plan,
            step: AtomicU64::new(0),
        }
    }

    /// Counts a step, and returns the failure to inject at it.
    pub(super) fn next_fault(&self) -> Option<Fault> {
        let step = self.step.fetch_add(1, Ordering::Relaxed);
        self.plan
            .iter()
            .find(|(at, _)| *at == step)
            .map(|(_, fault)| *fault)
    }
}

impl FromStr for Faults {
    type Err = Error;

    /// Parses a list such as `lose@7,hang@20`, the value of `NUWAVE_GPU_FAULTS`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage(format!("`NUWAVE_GPU_FAULTS`: `{text}` is not a list of faults")).with_hint(
                "a list is for example `lose@7,memory@12,hang@20,refuse@31,vanish@42`: what fails, and at which step",
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
