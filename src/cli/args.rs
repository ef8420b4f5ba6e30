//! Arguments that several commands share, and their resolution into a configuration.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::error_text::error_text;
use crate::error::{Error, Result};
use crate::event;
use crate::extract::{DigitizerConfig, Filter, Method, Parameters};
use crate::io::atomic::AtomicFile;
use crate::io::{ChannelId, ReadOptions, SourceInfo};
use crate::model::Polarity;
use crate::pipeline::{DetectorContext, InputOptions};

/// Headings of options in the help.
pub(crate) const INPUT: &str = "Input";
pub(crate) const OUTPUT: &str = "Output";
pub(crate) const METHOD: &str = "Method";
pub(crate) const PERFORMANCE: &str = "Performance";
pub(crate) const CONFIGURATION: &str = "Configuration";
pub(crate) const DETECTOR: &str = "Detector and calibration";

/// Maximum number of threads; starting many more takes longer than any run.
const MAX_THREADS: usize = 1024;

/// Returns the parser of `--method`, which lists the methods with their descriptions.
pub(crate) fn method_parser() -> impl TypedValueParser<Value = Method> {
    let values =
        Method::ALL.map(|method| PossibleValue::new(method.name()).help(method.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Method>())
}

/// Parses `--filter`. The error lists the filters.
fn parse_filter(text: &str) -> std::result::Result<Filter, String> {
    text.parse::<Filter>().map_err(|error| error_text(&error))
}

/// `--threads`.
#[derive(Clone, Copy, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ThreadArgs {
    /// CPU threads; the result does not depend on their number [default: all cores]
    #[arg(long, value_name = "N", help_heading = PERFORMANCE)]
    pub threads: Option<usize>,
}

impl ThreadArgs {
    /// Returns the number of threads to use: all cores if none was given.
    pub fn count(self) -> Result<usize> {
        match self.threads {
            Some(0) => Err(Error::usage("`--threads 0`: at least one thread is needed")),
            Some(threads) if threads > MAX_THREADS => Err(Error::usage(format!(
                "`--threads {threads}`: at most {MAX_THREADS} are possible"
            ))
            .with_hint("more threads than cores are not faster; omit it to use all cores")),
            Some(threads) => Ok(threads),
            None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        }
    }
}

/// Refuses an output folder that is not empty, unless it may be overwritten.
pub(crate) fn refuse_existing(output: &Path, overwrite: bool) -> Result<()> {
    if output.exists() && !output.is_dir() {
        return Err(Error::output(output, "exists and is not a folder"));
    }
    let filled = std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some());
    if filled && !overwrite {
        return Err(Error::output(output, "exists and is not empty").with_hint(
            "give another folder, or `--overwrite` to replace the files of an earlier run",
        ));
    }
    Ok(())
}

/// Writes files, each completely or not at all, into a folder that is made if it does not exist.
pub(crate) fn write_files<'a>(
    output: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    std::fs::create_dir_all(output)
        .map_err(|error| Error::output(output, "cannot be created").with_source(error))?;
    for (name, text) in files {
        let path = output.join(name);
        let mut file = AtomicFile::create(&path)?;
        file.file_mut()
            .write_all(text.as_bytes())
            .map_err(|error| Error::output(&path, "cannot be written").with_source(error))?;
        file.commit()?;
    }
    Ok(())
}

/// Options of extraction, shared by the commands that extract.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ExtractionArgs {
    /// Method of extraction [default: deconvolution]
    #[arg(long, value_parser = method_parser(), help_heading = METHOD)]
    pub method: Option<Method>,
    /// Low-pass filter of the deconvolution: `auto`, `wiener`, `gaussian:SIGMA_MHZ`, `flat:FLAT_MHZ:SIGMA_MHZ` [default: auto]
    #[arg(long, value_parser = parse_filter, help_heading = METHOD)]
    pub filter: Option<Filter>,
    /// Minimum height of a hit in standard deviations of the noise [default: 5]
    #[arg(long, value_name = "N", help_heading = METHOD)]
    pub threshold_sigma: Option<f32>,
    /// Minimum depth of the valley between two hits in standard deviations of the noise [default: 2]
    #[arg(long, value_name = "N", help_heading = METHOD)]
    pub split_sigma: Option<f32>,
}

impl ExtractionArgs {
    /// Returns the parameters, with the default of each option that was not given.
    pub fn parameters(&self) -> Parameters {
        let default = Parameters::default();
        Parameters {
            method: self.method.unwrap_or(default.method),
            filter: self.filter.unwrap_or(default.filter),
            threshold_sigma: self.threshold_sigma.unwrap_or(default.threshold_sigma),
            split_sigma: self.split_sigma.unwrap_or(default.split_sigma),
        }
    }
}

impl From<Parameters> for ExtractionArgs {
    fn from(parameters: Parameters) -> Self {
        let Parameters {
            method,
            filter,
            threshold_sigma,
            split_sigma,
        } = parameters;
        Self {
            method: Some(method),
            filter: Some(filter),
            threshold_sigma: Some(threshold_sigma),
            split_sigma: Some(split_sigma),
        }
    }
}

/// Heading of the options about events.
pub(crate) const EVENTS: &str = "Events";

/// Options of event reconstruction, shared by the commands that reconstruct events.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EventArgs {
    /// Method of event reconstruction [default: full, without light maps centroid]
    #[arg(long, value_enum, value_name = "METHOD", help_heading = EVENTS)]
    pub event_method: Option<event::EventMethod>,
    /// Folder of light maps made by `nuwave calibrate light`
    #[arg(long, value_name = "DIR", help_heading = EVENTS)]
    pub light_maps: Option<PathBuf>,
}

/// How to read inputs whose files do not say it themselves.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InputArgs {
    /// Table to read if a file holds several (HDF5 path, as `Readout/Waveform`)
    #[arg(long, value_name = "NAME", help_heading = INPUT)]
    pub table: Option<String>,
    /// Names of the columns, as `event=TriggerNo,channel=ChannelID,samples=Waveform`, `start` (ns); for hits also `time` and `charge`
    #[arg(long, value_name = "LIST", help_heading = INPUT)]
    pub columns: Option<String>,
    /// Channel of inputs that state none: a number, or a pattern of file names, as `run_{channel}.npy`, or of HDF5 groups, as `ch{channel}`
    #[arg(long, value_name = "N|PATTERN", help_heading = INPUT)]
    pub channel_id: Option<String>,
    /// Samples per record, for WaveDump binaries without headers
    #[arg(long, value_name = "N", help_heading = INPUT)]
    pub record_samples: Option<usize>,
    /// Sampling interval in ns; overrides that of the file
    #[arg(long, value_name = "NS", help_heading = INPUT)]
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses; overrides that of the file
    #[arg(long, value_name = "WHICH", help_heading = INPUT)]
    pub polarity: Option<PolarityArg>,
    /// Resolution of the digitiser in bits; overrides that of the file
    #[arg(long, value_name = "N", help_heading = INPUT)]
    pub adc_bits: Option<u32>,
}

/// `--polarity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolarityArg {
    /// Light lowers the sample values
    Negative,
    /// Light raises the sample values
    Positive,
}

impl From<PolarityArg> for Polarity {
    fn from(polarity: PolarityArg) -> Self {
        match polarity {
            PolarityArg::Negative => Self::Negative,
            PolarityArg::Positive => Self::Positive,
        }
    }
}

impl InputArgs {
    /// Returns the options of the reader of waveforms for input number `input_id`.
    pub fn read_options(&self, input_id: u32) -> Result<ReadOptions> {
        let options = self.options(
            input_id,
            "write it as `--columns event=TriggerNo,channel=ChannelID,samples=Waveform`",
        )?;
        if options.time_column.is_some() || options.charge_column.is_some() {
            return Err(
                Error::usage("`--columns`: waveforms have no column of times or charges")
                    .with_hint("`time` and `charge` are for tables of hits, `--from hits`"),
            );
        }
        Ok(options)
    }

    /// Returns the options of the reader of hits.
    pub fn hit_options(&self) -> Result<ReadOptions> {
        let hint = "write it as `--columns event=EventID,channel=ChannelID,time=t_ns,charge=q`";
        let options = self.options(0, hint)?;
        if options.samples_column.is_some() || options.start_column.is_some() {
            return Err(Error::usage(
                "`--columns`: hits have no column of samples or of window starts",
            )
            .with_hint(hint));
        }
        if options.channel_id.is_some() {
            return Err(Error::usage(
                "`--channel-id` is for waveforms; tables of hits have a column of channels",
            ));
        }
        Ok(options)
    }

    fn channel_id(&self) -> Result<Option<ChannelId>> {
        let parsed = self.channel_id.as_deref().map(str::parse).transpose();
        parsed.map_err(|error: String| Error::usage(format!("`--channel-id`: {error}")))
    }

    fn options(&self, input_id: u32, hint: &'static str) -> Result<ReadOptions> {
        let mut options = ReadOptions {
            table: self.table.clone(),
            channel_id: self.channel_id()?,
            record_samples: self.record_samples,
            input_id,
            ..ReadOptions::default()
        };
        for pair in self.columns.iter().flat_map(|columns| columns.split(',')) {
            let (role, name) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("`--columns`: `{pair}` is not `role=name`")).with_hint(hint)
            })?;
            let column = match role.trim() {
                "event" => &mut options.event_column,
                "channel" => &mut options.channel_column,
                "samples" => &mut options.samples_column,
                "start" => &mut options.start_column,
                "time" => &mut options.time_column,
                "charge" => &mut options.charge_column,
                other => {
                    return Err(Error::usage(format!("`--columns`: unknown role `{other}`"))
                        .with_hint(hint));
                }
            };
            *column = Some(name.trim().to_owned());
        }
        if let Some(sampling_ns) = self.sampling_ns
            && !(sampling_ns.is_finite() && sampling_ns > 0.0)
        {
            return Err(Error::usage(format!(
                "`--sampling-ns {sampling_ns}` is not a positive number"
            )));
        }
        Ok(options)
    }
}

/// The detector and the calibration.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DetectorArgs {
    /// Detector: a preset (`nuwave detector` lists them) or a detector file
    #[arg(long, short, value_name = "NAME|FILE", help_heading = DETECTOR)]
    pub detector: Option<String>,
    /// Calibration file made by `nuwave calibrate spe` [default: the detector's nominal templates]
    #[arg(long, short, value_name = "FILE", help_heading = DETECTOR)]
    pub calibration: Option<PathBuf>,
}

impl DetectorArgs {
    /// Reads detector and calibration. `info` is the first input's: a file that names one of the presets needs no `--detector`.
    pub fn read(&self, info: &SourceInfo) -> Result<DetectorContext> {
        DetectorContext::read(
            self.detector.as_deref(),
            self.calibration.as_deref(),
            info,
            &InputOptions::default(),
        )
    }
}

impl InputArgs {
    /// Returns sampling, polarity and resolution of an input.
    pub fn readout(&self, info: &SourceInfo, context: &DetectorContext) -> Result<DigitizerConfig> {
        context.readout(info, &self.input_options(ReadOptions::default()))
    }

    /// Returns the options of a pass, with `read` for the reader.
    pub fn input_options(&self, read: ReadOptions) -> InputOptions {
        InputOptions {
            read,
            sampling_ns: self.sampling_ns,
            polarity: self.polarity.map(Polarity::from),
            adc_bits: self.adc_bits,
        }
    }
}

/// Returns the detector that the report of a reconstruction names.
pub(crate) fn detector_of_report(report: &serde_json::Value) -> Option<String> {
    let name = report.pointer("/configuration/detector")?.as_str()?;
    Some(name.to_owned())
}

/// Merges the settings of the command line with those of a TOML file; the command line wins. An unknown key in the file is an
/// error.
pub(crate) fn merge_config<T: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    typed: &T,
) -> Result<T> {
    merge_exclusive_config(file, typed, &[])
}

/// As [`merge_config`], with groups of keys that exclude one another: one of them on the command line removes those of the file.
pub(crate) fn merge_exclusive_config<T: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    typed: &T,
    exclusive: &[&[&str]],
) -> Result<T> {
    let keys = |value: &T| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::internal("settings are not a table")),
        Err(error) => Err(Error::internal(format!("settings: {error}"))),
    };
    let mut given = keys(typed)?;
    // A switch that was not typed does not switch the file's off.
    given.retain(|_, value| !value.is_null() && value.as_bool() != Some(false));
    let mut settings = keys(&T::default())?;
    for (key, value) in file.map_or_else(|| Ok(toml::Table::new()), read_config::<T>)? {
        let is_replaced = exclusive.iter().any(|group| {
            group.contains(&key.as_str()) && group.iter().any(|other| given.contains_key(*other))
        });
        if !settings.contains_key(&key) {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            let file = file.unwrap_or(Path::new("")).display();
            return Err(Error::usage(format!("`{file}`: unknown key `{key}`"))
                .with_hint(format!("the keys are {}", known.join(", "))));
        }
        if !is_replaced {
            let value = serde_json::to_value(value)
                .map_err(|error| Error::internal(format!("settings: {error}")))?;
            settings.insert(key, value);
        }
    }
    settings.extend(given);
    serde_json::from_value(serde_json::Value::Object(settings))
        .map_err(|error| Error::internal(format!("settings: {error}")))
}

/// Reads the keys that are present in a TOML file of settings, and checks the types of their values.
fn read_config<T: DeserializeOwned>(path: &Path) -> Result<toml::Table> {
    let file = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("`{file}` cannot be read")).with_source(error))?;
    let wrong = |start: Option<usize>, message: &str| {
        let before = start.and_then(|start| text.get(..start));
        let line = 1 + before.map_or(0, |before| before.matches('\n').count());
        Error::usage(format!("`{file}`: line {line}: {message}"))
            .with_hint("`--print-config` shows every key")
    };
    let keys: BTreeMap<Spanned<String>, toml::Value> = toml::from_str(&text)
        .map_err(|error| wrong(error.span().map(|span| span.start), error.message()))?;
    // Flattened settings lose the position of a value, so that each key is checked by itself.
    let mut table = toml::Table::new();
    for (key, value) in keys {
        let single = toml::Table::from_iter([(key.get_ref().clone(), value.clone())]);
        if let Err(error) = single.try_into::<T>() {
            let quoted = format!("`{}`", key.get_ref());
            let mut message = error.message().to_owned();
            if !message.contains(&quoted) {
                message = format!("{quoted}: {message}");
            }
            return Err(wrong(Some(key.span().start), &message));
        }
        table.insert(key.into_inner(), value);
    }
    Ok(table)
}
