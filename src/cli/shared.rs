//! Arguments that several commands share, and their resolution into a configuration.

use crate::error::{Error, Result};
use crate::io::ReadOptions;
use crate::model::Polarity;

/// How to read inputs that do not say it themselves.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "How to read the input")]
pub(crate) struct InputArgs {
    /// Table to read, where a file holds several (HDF5 path, as `Readout/Waveform`)
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Names of the columns, as `event=TriggerNo,channel=ChannelID,samples=Waveform`
    #[arg(long, value_name = "LIST")]
    pub columns: Option<String>,
    /// Samples a record, for WaveDump binaries without headers
    #[arg(long, value_name = "N")]
    pub record_samples: Option<usize>,
    /// Sampling interval in ns, where the file does not say or says it wrongly
    #[arg(long, value_name = "NS")]
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses, where the file does not say or says it wrongly
    #[arg(long, value_name = "WHICH")]
    pub polarity: Option<PolarityArg>,
    /// Bits of the digitiser, where the file does not say or says it wrongly
    #[arg(long, value_name = "N")]
    pub adc_bits: Option<u32>,
}

/// `--polarity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PolarityArg {
    /// Light lowers the samples
    Negative,
    /// Light raises the samples
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
    /// The options of the reader for input number `input_id`.
    pub fn read_options(&self, input_id: u32) -> Result<ReadOptions> {
        let mut options = ReadOptions {
            table: self.table.clone(),
            record_samples: self.record_samples,
            input_id,
            ..ReadOptions::default()
        };
        for pair in self.columns.iter().flat_map(|columns| columns.split(',')) {
            let hint = "write it as `--columns event=TriggerNo,channel=ChannelID,samples=Waveform`";
            let (role, name) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("`--columns`: `{pair}` is not `role=name`")).with_hint(hint)
            })?;
            let column = match role.trim() {
                "event" => &mut options.event_column,
                "channel" => &mut options.channel_column,
                "samples" => &mut options.samples_column,
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
