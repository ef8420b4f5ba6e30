//! `nuwave simulate`.

use std::process::ExitCode;

use super::Talk;
use crate::error::{Error, Result};

/// Make waveforms with known truth
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args, _talk: Talk) -> Result<ExitCode> {
    Err(Error::internal("not built yet"))
}
