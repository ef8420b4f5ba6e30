//! `nuwave reconstruct`.

use std::process::ExitCode;

use super::Talk;
use crate::error::{Error, Result};

/// Turn waveforms into hits
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args, _talk: Talk) -> Result<ExitCode> {
    Err(Error::internal("not built yet"))
}
