//! The choice of a backend: CPU, or which GPU.

use serde::{Deserialize, Serialize};

use super::observer::Observer;
use crate::error::{Error, Hint, Result};
use crate::extract::{Backend, Extractor};
#[cfg(feature = "gpu")]
use crate::gpu::adapter::{self, Adapter};

/// Environment variable with failures to inject on the GPU, for tests: `lose@7,memory@12,hang@20,refuse@31`.
#[cfg(feature = "gpu")]
const FAULTS: &str = "NUWAVE_GPU_FAULTS";

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// A GPU if there is one that is not a software rasteriser, else the CPU
    #[default]
    Auto,
    /// The CPU
    Cpu,
    /// A GPU, software included, or an error
    Gpu,
}

/// A backend that this machine has.
#[derive(Debug)]
pub struct BackendChoice {
    /// The GPU; `None`: the CPU.
    #[cfg(feature = "gpu")]
    pub adapter: Option<Adapter>,
    /// True if a GPU was demanded: without it the pass fails rather than use the CPU.
    pub demanded: bool,
    /// The choice and its reason, for the user.
    pub line: String,
}

impl BackendChoice {
    /// Chooses a backend of this machine. Naming an adapter demands a GPU.
    ///
    /// # Errors
    /// If a GPU is demanded and there is none, or an adapter is named for the CPU.
    pub fn new(kind: BackendKind, adapter: Option<&str>) -> Result<Self> {
        match (kind, adapter) {
            (BackendKind::Cpu, Some(name)) => Err(Error::usage(format!(
                "the adapter `{name}` is a GPU, but the backend `cpu` was chosen"
            ))
            .with_hint(Hint::AdapterOrBackend)),
            (BackendKind::Cpu, None) => Ok(Self::cpu("backend: cpu")),
            (BackendKind::Gpu, _) | (BackendKind::Auto, Some(_)) => Self::gpu(adapter),
            (BackendKind::Auto, None) => Ok(Self::auto()),
        }
    }

    fn cpu(line: &str) -> Self {
        Self {
            #[cfg(feature = "gpu")]
            adapter: None,
            demanded: false,
            line: line.to_owned(),
        }
    }
}

#[cfg(not(feature = "gpu"))]
impl BackendChoice {
    fn gpu(_adapter: Option<&str>) -> Result<Self> {
        Err(Error::new(
            crate::error::ErrorKind::Gpu,
            "this build of nuwave has no GPU backend",
        ))
    }

    fn auto() -> Self {
        Self::cpu("backend: cpu (this build has no GPU backend)")
    }

    /// Builds the backend: the extractor that `make` makes.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn build(
        &self,
        make: impl Fn() -> Result<Extractor>,
        _observer: &dyn Observer,
    ) -> Result<Box<dyn Backend>> {
        Ok(Box::new(make()?))
    }

    /// Returns the waveforms per batch where the user does not say.
    #[must_use]
    pub fn batch_waveforms(&self, default: usize) -> usize {
        default
    }
}

#[cfg(feature = "gpu")]
impl BackendChoice {
    fn gpu(adapter: Option<&str>) -> Result<Self> {
        let adapter = adapter::find(adapter)?;
        let note = if adapter.info.is_software() {
            "; it computes on the CPU, and slower than the backend `cpu`"
        } else {
            ""
        };
        Ok(Self {
            demanded: true,
            line: format!("backend: gpu, {}{note}", adapter.info.description()),
            adapter: Some(adapter),
        })
    }

    fn auto() -> Self {
        Self::automatic(&adapter::list())
    }

    /// Returns the name of a GPU that is not a software rasteriser and cannot be used, and the reason.
    fn unusable_hardware(all: &[Adapter]) -> Option<(&str, &str)> {
        let mut hardware = all.iter().filter(|adapter| !adapter.info.is_software());
        hardware.find_map(|one| Some((one.info.name.as_str(), one.info.unusable.as_deref()?)))
    }

    /// Returns what [`BackendKind::Auto`] chooses among the adapters `all`.
    #[must_use]
    pub fn automatic(all: &[Adapter]) -> Self {
        let chosen = adapter::choose_automatic(all);
        let line = match chosen {
            Some(adapter) => format!("backend: gpu, {}", adapter.info.description()),
            None => match Self::unusable_hardware(all) {
                Some((name, why)) => format!("backend: cpu ({name} cannot be used: {why})"),
                None => "backend: cpu (there is no GPU)".to_owned(),
            },
        };
        if let (None, Some(software)) = (chosen, all.first()) {
            tracing::debug!("skipped {}: a software rasteriser", software.info.name);
        }
        Self {
            adapter: chosen.cloned(),
            demanded: false,
            line,
        }
    }

    /// Builds the backend around the extractor that `make` makes. If a GPU that was not demanded cannot be used, the CPU takes
    /// its place and the observer is told.
    ///
    /// # Errors
    /// If the extractor cannot be made, or a demanded GPU cannot be used.
    pub fn build(
        &self,
        make: impl Fn() -> Result<Extractor>,
        observer: &dyn Observer,
    ) -> Result<Box<dyn Backend>> {
        use crate::gpu::{Faults, GpuExtractor, Options};
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
                observer.notice(&super::observer::Notice::GpuUnavailable(error));
                Ok(Box::new(make()?))
            }
        }
    }

    /// Returns the waveforms per batch where the user does not say: a GPU over PCIe needs large batches.
    #[must_use]
    pub fn batch_waveforms(&self, default: usize) -> usize {
        match &self.adapter {
            Some(adapter) if !adapter.info.is_software() => 4 * default,
            _ => default,
        }
    }
}
