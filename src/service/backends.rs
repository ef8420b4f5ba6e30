//! What the service computes with: calibrations, the backends made of them, and the reconstruction of events.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, oneshot};

use super::batcher::{Batcher, Batching, JobOutcome};
use super::budget::SharedPermit;
use super::command::{Command, Output};
use super::metrics::Metrics;
use super::rejection::{Reason, Rejection};
use crate::error::Result;
use crate::event::Reconstructor;
use crate::extract::{Backend, Extractor, Method, Parameters, ReadoutFacts};
use crate::io::{SourceInfo, metadata};
use crate::model::{Batch, Calibration, Samples};

/// Relative difference between two sampling intervals that a number written down and read again may have.
const SAMPLING_TOLERANCE: f64 = 1e-12;

/// Makes an extractor, as often as it is asked to.
pub type MakeExtractor<'a> = dyn Fn() -> Result<Extractor> + 'a;

/// Makes a backend with an extractor: the CPU's is one already.
pub type MakeBackend = Box<dyn Fn(&MakeExtractor<'_>) -> Result<Box<dyn Backend>> + Send + Sync>;

/// What the service was started with.
pub struct Setup {
    /// Calibrations by name.
    pub calibrations: BTreeMap<String, Calibration>,
    /// The calibration of who names none.
    pub default_calibration: String,
    /// How waveforms of counts were digitised.
    pub counts: ReadoutFacts,
    /// How floating-point waveforms were, which may be volts.
    pub floats: ReadoutFacts,
    /// How charge and time are taken where a client does not say.
    pub parameters: Parameters,
    /// Makes backends.
    pub make: MakeBackend,
    /// What makes events of hits, or why nothing does.
    pub events: std::result::Result<Arc<Reconstructor>, String>,
}

/// What a client's waveforms are extracted with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendKey {
    method: Method,
    calibration: String,
    /// True for floating-point samples of unknown resolution.
    floats: bool,
}

type Batchers = HashMap<(BackendKey, bool), Arc<OnceCell<Batcher>>>;

/// Calibrations and backends.
pub struct Backends {
    setup: Arc<Setup>,
    batching: Batching,
    metrics: Arc<Metrics>,
    /// Backends by key and whether samples are 16-bit counts, made when first asked for.
    batchers: Mutex<Batchers>,
}

impl Backends {
    /// An backends without backends yet.
    #[must_use]
    pub fn new(setup: Setup, batching: Batching, metrics: Arc<Metrics>) -> Self {
        Self {
            setup: Arc::new(setup),
            batching,
            metrics,
            batchers: Mutex::default(),
        }
    }

    /// What it was made with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What makes events of hits.
    ///
    /// # Errors
    /// If the service has no geometry.
    pub fn events(&self) -> std::result::Result<Arc<Reconstructor>, Rejection> {
        self.setup.events.clone().map_err(|why| {
            Rejection::new(
                Reason::Unknown,
                format!("this service makes no events: {why}"),
            )
        })
    }

    /// True if `output` can be had.
    #[must_use]
    pub fn has(&self, output: Output) -> bool {
        output != Output::Events || self.setup.events.is_ok()
    }

    /// The key for `command` and waveforms of which `info` says what the client says of them.
    ///
    /// # Errors
    /// If the calibration is unknown, or the waveforms were digitised in another way than this service's.
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
                    "there is no calibration `{calibration}`; there is {}",
                    known.join(", ")
                ),
            ));
        }
        let differs = |what: &str, theirs: String, ours: String| {
            Err(Rejection::malformed(format!(
                "the waveforms say that their {what} is {theirs}, this service reads {ours}"
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
                || "waveforms of unknown resolution (`--adc-bits`)".to_owned(),
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

    /// Puts the waveforms of `batch` into the queue of the backend for `key`.
    ///
    /// # Errors
    /// If there is no such backend yet and it cannot be made.
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

    /// Makes the backend that most clients ask for, so that the first does not wait for it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn warm_up(&self) -> std::result::Result<(), Rejection> {
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
        // A cell is inserted whole: nothing a panicking thread could leave behind is wrong.
        let mut batchers = self.batchers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(batchers.entry((key.clone(), counts)).or_default())
    }

    /// The batcher in `cell`, made if there is none: who comes meanwhile waits for it instead of making another.
    async fn batcher<'a>(
        &self,
        cell: &'a OnceCell<Batcher>,
        key: &BackendKey,
    ) -> std::result::Result<&'a Batcher, Rejection> {
        cell.get_or_try_init(|| async {
            let (setup, of) = (Arc::clone(&self.setup), key.clone());
            let made = tokio::task::spawn_blocking(move || {
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
                (setup.make)(&|| Extractor::new(calibration.clone(), readout, parameters))
            });
            let backend = made
                .await
                .map_err(|_| Rejection::internal("a backend could not be made"))??;
            let name = format!("batcher-{}", key.method.name());
            let metrics = Arc::clone(&self.metrics);
            Ok(Batcher::start(name, backend, self.batching, metrics)?)
        })
        .await
    }
}
