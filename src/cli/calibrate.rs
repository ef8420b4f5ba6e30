//! `nuwave calibrate`.

use std::process::ExitCode;

use super::Talk;
use crate::error::{Error, Result};

/// Learn templates, gains and noise from data
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args, _talk: Talk) -> Result<ExitCode> {
    Err(Error::internal("not built yet"))
}
