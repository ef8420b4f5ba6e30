//! The extraction backends, one per method and calibration, and the event reconstruction.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::ThreadPool;
use tokio::sync::{OnceCell, oneshot};

use super::batcher::{Batcher, Batching, JobOutcome};
use super::budget::SharedPermit;
use super::command::{Command, Output};
use super::metrics::Metrics;
use super::rejection::{Reason, Rejection};
use crate::error::{Error, Result};
use crate::event::EventReconstructor;
use crate::extract::{Backend, DigitizerConfig, Extractor, Method, Parameters};
use crate::io::{SourceInfo, metadata};
use crate::model::{Batch, Calibration, Samples};

/// The relative tolerance between sampling intervals, for rounding in text formats.
const SAMPLING_TOLERANCE: f64 = 1e-12;

/// Constructs an extractor; may be called repeatedly.
pub type MakeExtractor<'a> = dyn Fn() -> Result<Extractor> + 'a;

/// Constructs a backend from the constructor of its extractor.
pub type MakeBackend = Box<dyn Fn(&MakeExtractor<'_>) -> Result<Box<dyn Backend>> + Send + Sync>;

/// The configuration of the backends.
pub struct Setup {
    /// Calibrations by name.
    pub calibrations: BTreeMap<String, Calibration>,
    /// The name of the calibration for requests that name none.
    pub default_calibration: String,
    /// The digitizer of waveforms of integer counts.
    pub counts: DigitizerConfig,
    /// The digitizer of floating-point waveforms, which may be in volts.
    pub floats: DigitizerConfig,
    /// The extraction parameters for requests that do not set them.
    pub parameters: Parameters,
    /// Constructs backends.
    pub make: MakeBackend,
    /// The event reconstruction, or the reason why there is none.
    pub events: std::result::Result<Arc<EventReconstructor>, String>,
}

/// The configuration that the waveforms of a request are extracted with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendKey {
    method: Method,
    calibration: String,
    /// True for floating-point samples of unknown resolution.
    floats: bool,
}

type Batchers = HashMap<(BackendKey, bool), Arc<OnceCell<Batcher>>>;

/// The backends, created on first use.
pub struct Backends {
    setup: Arc<Setup>,
    pool: Arc<ThreadPool>,
    batching: Batching,
    metrics: Arc<Metrics>,
    /// The batchers by key and by whether samples are 16-bit counts.
    batchers: Mutex<Batchers>,
}

impl Backends {
    /// Creates the collection without any backend.
    #[must_use]
    pub fn new(
        setup: Setup,
        pool: Arc<ThreadPool>,
        batching: Batching,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            setup: Arc::new(setup),
            pool,
            batching,
            metrics,
            batchers: Mutex::default(),
        }
    }

    /// Returns the thread pool of all extraction and reconstruction.
    #[must_use]
    pub fn pool(&self) -> &Arc<ThreadPool> {
        &self.pool
    }

    /// Returns the configuration.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Returns the event reconstruction.
    ///
    /// # Errors
    /// If the detector has no geometry.
    pub fn events(&self) -> std::result::Result<Arc<EventReconstructor>, Rejection> {
        self.setup.events.clone().map_err(|why| {
            Rejection::new(
                Reason::Unknown,
                format!("this service reconstructs no events: {why}"),
            )
        })
    }

    /// Returns true if `output` is available.
    #[must_use]
    pub fn has(&self, output: Output) -> bool {
        output != Output::Events || self.setup.events.is_ok()
    }

    /// Returns the key for `command` and waveforms with the metadata `info`.
    ///
    /// # Errors
    /// If the calibration is unknown, or the waveforms are from a different digitizer than the configured one.
    pub fn key(
        &self,
        command: &Command,
        info: &SourceInfo,
    ) -> std::result::Result<BackendKey, Rejection> {
        let setup = &self.setup;
        let calibration = command
            .calibration
            .as_ref()
            .unwrap_or(&setup.default_calibration);
        if !setup.calibrations.contains_key(calibration) {
            let known: Vec<&str> = setup.calibrations.keys().map(String::as_str).collect();
            return Err(Rejection::new(
                Reason::Unknown,
                format!(
                    "unknown calibration `{calibration}`; available: {}",
                    known.join(", ")
                ),
            ));
        }
        let differs = |what: &str, theirs: String, ours: String| {
            Err(Rejection::malformed(format!(
                "the {what} of the waveforms is {theirs}, this service is configured for {ours}"
            )))
        };
        let name = |polarity| metadata::polarity_text(polarity).to_owned();
        let counts = &setup.counts;
        if let Some(theirs) = info.sampling_ns
            && (theirs / counts.sampling_ns - 1.0).abs() > SAMPLING_TOLERANCE
        {
            let ours = format!("{} ns", counts.sampling_ns);
            return differs("sampling interval", format!("{theirs} ns"), ours);
        }
        if let Some(theirs) = info.polarity.filter(|theirs| *theirs != counts.polarity) {
            return differs("polarity", name(theirs), name(counts.polarity));
        }
        if let Some(theirs) = info.adc_bits.filter(|it| Some(*it) != counts.adc_bits) {
            let ours = counts.adc_bits.map_or_else(
                || "waveforms of unknown resolution".to_owned(),
                |ours| format!("{ours} bits"),
            );
            return differs("resolution", format!("{theirs} bits"), ours);
        }
        Ok(BackendKey {
            method: command.method.unwrap_or(setup.parameters.method),
            calibration: calibration.clone(),
            floats: info.sample_type.starts_with('f') && info.adc_bits.is_none(),
        })
    }

    /// Queues the waveforms of `batch` for the backend of `key`.
    ///
    /// # Errors
    /// If the backend does not exist yet and cannot be created.
    pub async fn submit(
        &self,
        key: &BackendKey,
        batch: Batch,
        permit: SharedPermit,
    ) -> std::result::Result<oneshot::Receiver<JobOutcome>, Rejection> {
        let counts = matches!(batch.samples(), Samples::U16(_));
        let cell = self.cell(key, counts);
        Ok(self.batcher(&cell, key).await?.submit(batch, permit))
    }

    /// Creates the default backend, so that the first client does not wait for it.
    ///
    /// # Errors
    /// If it cannot be created.
    pub async fn warm_up(&self) -> Result<()> {
        let setup = &self.setup;
        let key = BackendKey {
            method: setup.parameters.method,
            calibration: setup.default_calibration.clone(),
            floats: false,
        };
        let cell = self.cell(&key, true);
        self.batcher(&cell, &key).await.map(|_| ())
    }

    fn cell(&self, key: &BackendKey, counts: bool) -> Arc<OnceCell<Batcher>> {
        // Inserting a cell cannot be observed half-done, so a poisoned lock is harmless.
        let mut batchers = self.batchers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(batchers.entry((key.clone(), counts)).or_default())
    }

    /// Returns the batcher in `cell`, creating it on first use; concurrent requests wait for it.
    async fn batcher<'a>(
        &self,
        cell: &'a OnceCell<Batcher>,
        key: &BackendKey,
    ) -> Result<&'a Batcher> {
        cell.get_or_try_init(|| async {
            let (setup, of) = (Arc::clone(&self.setup), key.clone());
            let pool = Arc::clone(&self.pool);
            let backend = tokio::task::spawn_blocking(move || {
                let calibration = setup.calibrations.get(&of.calibration).cloned();
                let readout = if of.floats {
                    setup.floats
                } else {
                    setup.counts
                };
                let parameters = Parameters {
                    method: of.method,
                    ..setup.parameters
                };
                let calibration = calibration.unwrap_or_default();
                let extractor = || Extractor::new(calibration.clone(), readout, parameters);
                pool.install(|| (setup.make)(&extractor))
            });
            let backend = backend
                .await
                .map_err(|_| Error::internal("a backend could not be created"))??;
            let name = format!("batcher-{}", key.method.name());
            let metrics = Arc::clone(&self.metrics);
            let pool = Arc::clone(&self.pool);
            Batcher::start(name, backend, pool, self.batching, metrics)
        })
        .await
    }
}
