//! `nuwave serve`: the network service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Verbosity;
use super::args::{
    CONFIGURATION, DETECTOR, DetectorArgs, EventArgs, ExtractionArgs, InputArgs, ThreadArgs,
    merge_config,
};
use super::backend::BackendArgs;
use super::console::Console;
use super::duration::DurationArg;
use super::reconstruct::settings::Settings as ReconstructSettings;
use crate::error::{Error, Result};
use crate::extract::Extractor;
use crate::io::{SourceInfo, calibration};
use crate::pipeline::{CancelToken, EventStage, continue_tails};
use crate::service::auth::Tokens;
use crate::service::backends::Setup;
use crate::service::batcher::Batching;
use crate::service::listen::Address;
use crate::service::local_files::LocalFiles;
use crate::service::state::Limits;
use crate::service::{self, Options, tls};

const NETWORK: &str = "Network";
const LIMITS: &str = "Limits";
/// The default of `--idle-timeout`.
const IDLE_TIMEOUT: DurationArg = DurationArg(Duration::from_secs(60));
/// The default of `--drain-timeout`.
const DRAIN_TIMEOUT: DurationArg = DurationArg(Duration::from_secs(30));
/// The name of the calibration for requests that name none.
const DEFAULT: &str = "default";
/// The name of a client's stream in error messages.
const STREAM: &str = "stream";

/// Extract the waveforms of many clients over the network
///
/// Clients send waveforms over Arrow Flight (`DoExchange`) or the KServe v2 protocol (models `waveform` and `event`) and
/// receive hits, waveform summaries or events, with the same values as `nuwave reconstruct` writes. All protocols share one
/// address: `/` status page, `/metrics`, readiness at `/v2/health/ready`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave serve -d juno
  nuwave serve -d juno -c spe.parquet --light-maps maps --listen 127.0.0.1:8815 --listen unix:/run/nuwave.sock
  nuwave serve -d juno --listen 0.0.0.0:8815 --tls-certificate host.pem --tls-key host.key --token-file tokens
  nuwave serve -d juno --calibration spe.parquet --calibration spring=spring.parquet
  nuwave serve -d juno --data-root /data

On SIGTERM or SIGINT new requests are rejected, running requests finish, and the exit code is 0.")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Configuration file (TOML); options on the command line override it
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    config: Option<PathBuf>,
    /// Print the resulting configuration and exit
    #[arg(long, help_heading = CONFIGURATION)]
    print_config: bool,
}

/// The settings of the configuration file and the command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
struct Settings {
    /// Address to listen on: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; may be repeated [default: 127.0.0.1:8815]
    #[arg(long, value_name = "ADDRESS", help_heading = NETWORK)]
    listen: Option<Vec<String>>,
    /// Certificate chain of this host (PEM)
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    tls_key: Option<PathBuf>,
    /// Certificate authorities of clients (PEM); if given, clients need a certificate
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    tls_client_authorities: Option<PathBuf>,
    /// File with one token per line; if given, clients need a token
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    token_file: Option<PathBuf>,
    /// Folder with files that clients may have reconstructed in place
    #[arg(long, value_name = "DIR", help_heading = NETWORK)]
    data_root: Option<PathBuf>,
    /// Memory for the waveforms of all clients, in MiB [default: 1024]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    memory_mib: Option<u64>,
    /// Memory for the waveforms of one connection, in MiB [default: 256]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    client_mib: Option<u64>,
    /// Maximum size of a message, in MiB [default: 16]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    message_mib: Option<u64>,
    /// Maximum number of connections [default: 1024]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    connections: Option<usize>,
    /// Time in which a client has to send a message or read a response [default: 60s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    idle_timeout: Option<DurationArg>,
    /// Time that running requests have after SIGTERM [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    drain_timeout: Option<DurationArg>,
    /// Maximum number of waveforms per batch [default: 4096, with a GPU 16384]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    batch: Option<usize>,
    /// Time that a batch waits for more waveforms [default: 0ms, with a GPU 1ms]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    batch_delay: Option<DurationArg>,
    #[command(flatten)]
    #[serde(flatten)]
    extraction: ExtractionArgs,
    #[command(flatten)]
    #[serde(flatten)]
    events: EventArgs,
    #[command(flatten)]
    #[serde(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    #[serde(flatten)]
    backend: BackendArgs,
    /// Detector: a preset (`nuwave detector` lists them) or a detector file
    #[arg(long, short, value_name = "NAME|FILE", help_heading = DETECTOR)]
    detector: Option<String>,
    /// Calibration file; repeat it with `NAME=` for calibrations that clients select by name [default: the nominal templates
    /// of the detector]
    #[arg(long, short, value_name = "[NAME=]FILE", help_heading = DETECTOR)]
    calibration: Option<Vec<String>>,
    #[command(flatten)]
    #[serde(flatten)]
    input: InputArgs,
}

impl Settings {
    /// Returns the settings with all defaults that do not depend on the machine.
    fn resolved(&self) -> Result<Self> {
        let pass = self.pass()?.unchecked();
        Ok(Self {
            listen: Some(self.listen()),
            memory_mib: Some(self.memory_mib.unwrap_or(1024)),
            client_mib: Some(self.client_mib.unwrap_or(256)),
            message_mib: Some(self.message_mib.unwrap_or(16)),
            connections: Some(self.connections.unwrap_or(1024)),
            idle_timeout: Some(self.idle_timeout.unwrap_or(IDLE_TIMEOUT)),
            drain_timeout: Some(self.drain_timeout.unwrap_or(DRAIN_TIMEOUT)),
            extraction: pass.parameters.into(),
            events: EventArgs {
                event_method: Some(pass.event_method()),
                ..self.events.clone()
            },
            ..self.clone()
        })
    }

    fn listen(&self) -> Vec<String> {
        let given = self.listen.clone().filter(|it| !it.is_empty());
        given.unwrap_or_else(|| vec!["127.0.0.1:8815".to_owned()])
    }

    fn limits(&self) -> Result<Limits> {
        let resolved = self.resolved()?;
        let mib = |name: &str, value: Option<u64>| {
            let value = value.unwrap_or_default();
            let bytes = value.checked_mul(1 << 20).filter(|&bytes| bytes > 0);
            bytes.ok_or_else(|| {
                Error::usage(format!("`--{name} {value}` is not an amount of memory"))
            })
        };
        let message = mib("message-mib", resolved.message_mib)?;
        let message = usize::try_from(message)
            .ok()
            .filter(|&bytes| bytes <= 1 << 30)
            .ok_or_else(|| Error::usage("`--message-mib`: the maximum is 1024"))?;
        let limits = Limits {
            memory: mib("memory-mib", resolved.memory_mib)?,
            client: mib("client-mib", resolved.client_mib)?,
            message,
            connections: resolved.connections.unwrap_or_default(),
            idle: timeout("idle-timeout", self.idle_timeout.unwrap_or(IDLE_TIMEOUT))?,
            drain: timeout("drain-timeout", self.drain_timeout.unwrap_or(DRAIN_TIMEOUT))?,
        };
        if limits.connections == 0 {
            return Err(Error::usage("`--connections` must be at least 1"));
        }
        if limits.stream() > limits.client.min(limits.memory) {
            return Err(Error::usage(format!(
                "a stream reserves two messages of {} MiB, more than `--client-mib` or `--memory-mib` allow",
                limits.message >> 20
            ))
            .with_hint("decrease `--message-mib` or increase the others"));
        }
        Ok(limits)
    }

    fn tls(&self) -> Result<Option<tls::Files>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(tls::Files {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: self.tls_client_authorities.clone(),
            })),
            (None, None) if self.tls_client_authorities.is_none() => Ok(None),
            _ => Err(Error::usage(
                "`--tls-certificate` and `--tls-key` must be given together, and `--tls-client-authorities` requires both",
            )),
        }
    }

    /// Returns the settings of a pass with the same results.
    fn pass(&self) -> Result<ReconstructSettings> {
        Ok(ReconstructSettings {
            extraction: self.extraction.clone(),
            events: self.events.clone(),
            backend: self.backend.clone(),
            threads: self.threads,
            batch: self.batch,
            known: self.detector_args()?,
            input: self.input.clone(),
            ..ReconstructSettings::default()
        })
    }

    /// The detector and the calibration for requests that name none.
    fn detector_args(&self) -> Result<DetectorArgs> {
        Ok(DetectorArgs {
            detector: self.detector.clone(),
            calibration: self.calibrations()?.remove(DEFAULT),
        })
    }

    /// The files of the calibrations by name.
    fn calibrations(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut files = BTreeMap::new();
        for text in self.calibration.iter().flatten() {
            // A path may contain `=` after its first separator.
            let named = text.split_once('=');
            let (name, file) = match named.filter(|(name, _)| !name.contains(['/', '\\'])) {
                Some((name, file)) => (name, file),
                None => (DEFAULT, text.as_str()),
            };
            if name.is_empty() || file.is_empty() {
                return Err(Error::usage(format!(
                    "`--calibration {text}` is not `FILE` or `NAME=FILE`"
                ))
                .with_hint("write for example `--calibration spring=spring.parquet`"));
            }
            if files.insert(name.to_owned(), PathBuf::from(file)).is_some() {
                return Err(Error::usage(format!("two calibrations are named `{name}`")));
            }
        }
        Ok(files)
    }
}

/// Returns the value of the timeout `--NAME`, which must not be zero.
fn timeout(name: &str, DurationArg(duration): DurationArg) -> Result<Duration> {
    if duration.is_zero() {
        return Err(Error::usage(format!("`--{name}` must be longer than zero")));
    }
    Ok(duration)
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let settings: Settings = merge_config(args.config.as_deref(), &args.settings)?;
    if args.print_config {
        let text = toml::to_string(&settings.resolved()?)
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        super::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = options(&settings, verbosity)?;
    options.check().map_err(|error| {
        error.with_hint(
            "give `--tls-certificate`, `--tls-key` and `--token-file`, or listen on `127.0.0.1:8815` or `unix:PATH` for this machine only",
        )
    })?;
    let cancel = CancelToken::on_signals();
    service::run(options, &cancel, |addresses| {
        for address in addresses {
            // Scripts wait for this line, so it is printed even with `--quiet`.
            status!("ready: {address}");
        }
    })?;
    if !verbosity.quiet {
        status!("stopped");
    }
    Ok(ExitCode::SUCCESS)
}

/// Lowers the priority of a compute thread below that of the network threads, which need little time but must respond soon.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        // On Linux the priority is per thread; if it cannot be changed, all threads are equal.
        let _ = rustix::process::nice(5);
    }
}

fn options(settings: &Settings, verbosity: Verbosity) -> Result<Options> {
    let limits = settings.limits()?;
    let pass = settings.pass()?.pass_settings()?;
    let parameters = pass.parameters;
    parameters.validate()?;
    let listen = settings.listen();
    let listen: Vec<Address> = listen.iter().map(|it| it.parse()).collect::<Result<_>>()?;
    let tls = settings.tls()?;
    let tokens = settings
        .token_file
        .as_deref()
        .map(Tokens::read)
        .transpose()?;
    // Extraction of all requests, on the CPU or next to a GPU, and event reconstruction share one pool.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads.count()?)
        .start_handler(|_| lower_priority())
        .build()
        .map_err(|error| Error::internal("cannot start the compute threads").with_source(error))?;
    let pool = Arc::new(pool);
    let choice = settings.backend.choose()?;
    let console = Console::new(verbosity, Duration::from_secs(10));
    let info = SourceInfo::new(PathBuf::from(STREAM), "stream", 0);
    if pass.detector.is_none() && pass.calibration.is_none() {
        return Err(Error::usage("neither a detector nor a calibration is given").with_hint(
            "give `--detector NAME|FILE` (`nuwave detector` lists the presets), or `--calibration FILE` with `--polarity`",
        ));
    }
    let context = settings.detector_args()?.read(&info)?;
    let of_type = |sample_type: &str| SourceInfo {
        sample_type: sample_type.to_owned(),
        ..info.clone()
    };
    let counts = settings.input.readout(&of_type("u16"), &context)?;
    let floats = settings.input.readout(&of_type("f32"), &context)?;
    let stage = EventStage::new(&pass, context.detector.as_ref())?;
    let events_line = stage.notice().map(|notice| notice.to_string());
    let events = stage.into_reconstructor();
    if !verbosity.quiet {
        status!("{}\ntemplates: {}", choice.line, context.origin);
        match (&events, events_line) {
            (Ok(_), line) => status!("{}", line.unwrap_or_default()),
            (Err(why), _) => status!("no events: {why}"),
        }
    }
    let mut named = settings.calibrations()?;
    named.remove(DEFAULT);
    let mut calibrations = BTreeMap::from([(DEFAULT.to_owned(), context.calibration)]);
    for (name, file) in &named {
        let mut calibration = calibration::read(file).map_err(Error::into_usage)?;
        continue_tails(&mut calibration, &format!("`{}`", file.display()));
        // A calibration that does not match the digitizer is an error at the start, not in the first request.
        pool.install(|| Extractor::new(calibration.clone(), counts, parameters))
            .map_err(|error| error.in_file(file))?;
        calibrations.insert(name.clone(), calibration);
    }
    let local_files = settings.data_root.as_deref().map(|root| {
        let files = named.into_iter().map(|(name, file)| (name, Some(file)));
        let calibrations = files.chain([(DEFAULT.to_owned(), None)]).collect();
        LocalFiles::new(root, pass.clone(), calibrations)
    });
    // Larger batches are only worth a delay if they are transferred to a GPU.
    let default_ms = u64::from(choice.adapter.is_some());
    let default_delay = DurationArg(Duration::from_millis(default_ms));
    let DurationArg(delay) = settings.batch_delay.unwrap_or(default_delay);
    Ok(Options {
        listen,
        tls,
        tokens,
        limits,
        batching: Batching {
            limit: pass.batch_limit(&choice),
            delay,
        },
        pool,
        backend_line: choice.line.clone(),
        setup: Setup {
            calibrations,
            default_calibration: DEFAULT.to_owned(),
            counts,
            floats,
            parameters,
            make: Box::new(move |make| choice.build(make, &console)),
            events,
        },
        local_files: local_files.transpose()?,
    })
}
