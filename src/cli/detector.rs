//! `nuwave detector`.

use std::process::ExitCode;

use super::Talk;
use crate::error::{Error, Result};

/// Print a detector preset
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args, _talk: Talk) -> Result<ExitCode> {
    Err(Error::internal("not built yet"))
}
