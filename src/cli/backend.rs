//! `--backend` and `--adapter`: where to compute.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::extract::{Backend, Extractor};
use crate::gpu::adapter::{self, Adapter};
use crate::gpu::{Faults, GpuExtractor, Options};

/// Holds failures to bring about on the GPU, to see what happens then: `lose@7,memory@12,hang@20,refuse@31`.
const FAULTS: &str = "NUWAVE_GPU_FAULTS";

/// Where to compute.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BackendArgs {
    /// Where to compute: `auto` takes a GPU if there is one
    #[arg(long, value_enum)]
    pub backend: Option<BackendArg>,
    /// The GPU to take: its place in `nuwave devices`, or a part of its name
    #[arg(long, value_name = "PLACE|NAME")]
    pub adapter: Option<String>,
}

/// `--backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BackendArg {
    /// A GPU where there is one that is not a software rasteriser, else the CPU
    #[default]
    Auto,
    /// The CPU
    Cpu,
    /// A GPU, software included, or an error
    Gpu,
}

/// Where to compute, resolved.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The GPU to take; `None`: the CPU.
    pub adapter: Option<Adapter>,
    /// True if a GPU was demanded.
    pub demanded: bool,
    /// The choice and its reason, for the user.
    pub line: String,
}

impl BackendArgs {
    /// What is to be taken on this machine.
    pub fn choose(&self) -> Result<Choice> {
        let backend = match (self.backend.unwrap_or_default(), &self.adapter) {
            (BackendArg::Cpu, Some(name)) => {
                return Err(Error::usage(format!(
                    "`--adapter {name}` is for a GPU, `--backend` is `cpu`"
                ))
                .with_hint("leave one of them out"));
            }
            // Whoever names an adapter wants that one or an error.
            (BackendArg::Auto, Some(_)) => BackendArg::Gpu,
            (backend, _) => backend,
        };
        match backend {
            BackendArg::Cpu => Ok(Choice {
                adapter: None,
                demanded: false,
                line: "backend: cpu".to_owned(),
            }),
            BackendArg::Gpu => {
                let adapter = adapter::find(self.adapter.as_deref())?;
                let note = if adapter.info.is_software() {
                    "; it computes on the CPU, and slower than `--backend cpu`"
                } else {
                    ""
                };
                Ok(Choice {
                    demanded: true,
                    line: format!("backend: gpu, {}{note}", adapter.info.description()),
                    adapter: Some(adapter),
                })
            }
            BackendArg::Auto => Ok(automatic(&adapter::list())),
        }
    }
}

/// Keeps a layer of Mesa's from complaining, on every machine without a desktop, that it finds no Wayland display. It puts the
/// desktop's GPU first; nuwave has an order of its own.
///
/// Must be called before the process has a second thread.
pub(crate) fn quiet_vulkan_layer() {
    const DISABLE: &str = "NODEVICE_SELECT";
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if !is_set("XDG_RUNTIME_DIR") && !is_set(DISABLE) && !is_set("MESA_VK_DEVICE_SELECT") {
        // SAFETY: `main` calls this first, while the process has one thread: nobody reads the environment meanwhile.
        unsafe { std::env::set_var(DISABLE, "1") };
    }
}

/// What `auto` takes of `all`, and why.
pub(crate) fn automatic(all: &[Adapter]) -> Choice {
    let chosen = adapter::choose_automatic(all);
    let line = match (chosen, all) {
        (Some(adapter), _) => format!("backend: gpu, {}", adapter.info.description()),
        (None, []) => "backend: cpu (there is no GPU)".to_owned(),
        (None, [first, ..]) => {
            let why = first
                .info
                .unusable
                .clone()
                .unwrap_or_else(|| "a software rasteriser".to_owned());
            format!(
                "backend: cpu (of GPUs there is only {}: {why})",
                first.info.name
            )
        }
    };
    Choice {
        adapter: chosen.cloned(),
        demanded: false,
        line,
    }
}

impl Choice {
    /// The backend over the extractor that `make` makes. A GPU that nobody demanded and that gives no device is no reason to end: the
    /// CPU takes its place, and the user hears of it.
    pub fn build(&self, make: impl Fn() -> Result<Extractor>) -> Result<Box<dyn Backend>> {
        let Some(adapter) = &self.adapter else {
            return Ok(Box::new(make()?));
        };
        let faults = match std::env::var(FAULTS) {
            Ok(text) => text.parse::<Faults>()?,
            Err(_) => Faults::default(),
        };
        let options = Options {
            faults,
            ..Options::default()
        };
        match GpuExtractor::new(make()?, adapter.clone(), options) {
            Ok(gpu) => Ok(Box::new(gpu)),
            Err(error) if self.demanded => Err(error),
            Err(error) => {
                status!("warning: {error}\nbackend: cpu");
                Ok(Box::new(make()?))
            }
        }
    }

    /// Waveforms a batch where the user does not say: a GPU behind PCIe wants large ones.
    pub fn batch_waveforms(&self, default: usize) -> usize {
        match &self.adapter {
            Some(adapter) if !adapter.info.is_software() => 4 * default,
            _ => default,
        }
    }
}
