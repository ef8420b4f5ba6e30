//! `--backend` and `--adapter`: where to compute.

use serde::{Deserialize, Serialize};

use super::args::PERFORMANCE;
use crate::error::Result;
use crate::pipeline::{BackendChoice, BackendKind};

/// Where to compute.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BackendArgs {
    /// Where to compute: `auto` uses a GPU if there is one [default: auto]
    #[arg(long, value_enum, help_heading = PERFORMANCE)]
    pub backend: Option<BackendKind>,
    /// The GPU to use: its index in `nuwave devices`, or a part of its name
    #[arg(long, value_name = "INDEX|NAME", help_heading = PERFORMANCE)]
    pub adapter: Option<String>,
}

impl BackendArgs {
    /// Chooses a backend of this machine.
    pub fn choose(&self) -> Result<BackendChoice> {
        BackendChoice::new(self.backend.unwrap_or_default(), self.adapter.as_deref())
    }
}

/// Disables the Mesa layer that puts the desktop's GPU first. nuwave has its own order, and on machines without a desktop the
/// layer prints a complaint about a missing Wayland display.
///
/// Must be called before the process has a second thread.
pub(crate) fn quiet_vulkan_layer() {
    const DISABLE: &str = "NODEVICE_SELECT";
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if !is_set("XDG_RUNTIME_DIR") && !is_set(DISABLE) && !is_set("MESA_VK_DEVICE_SELECT") {
        // SAFETY: `main` calls this first, while the process has one thread: no other thread reads the environment.
        unsafe { std::env::set_var(DISABLE, "1") };
    }
}
