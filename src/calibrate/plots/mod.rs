//! The plots of a calibration: an overview of all channels, single channels' charge spectra and templates, and light maps.

mod channel;
mod light;
mod overview;

use std::path::{Path, PathBuf};

use super::result::{ChannelSpe, SpeResult};
use crate::error::{Error, Result};
use crate::model::Flags;
use crate::plot::figure::Figure;
use crate::plot::layout;

pub use light::write_light;

/// Number of channels with pictures of their own, unless all are asked for.
const MAX_SINGLE: usize = 16;
/// How many of them are flagged ones, if there are so many.
const MAX_FLAGGED: usize = 8;

/// How a calibration is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpePlots {
    /// Interval between samples.
    pub sampling_ns: f64,
    /// Linear counts in the charge spectra, cut at three times the single-photoelectron peak; else logarithmic.
    pub linear_y: bool,
    /// Pictures of every channel; else of at most 16.
    pub all_channels: bool,
}

/// Writes `overview.svg`, and `channel_<id>_spectrum.svg` and `channel_<id>_template.svg` of single channels, into `folder`
/// (created if it does not exist) and returns the paths. Of more than 16 channels up to eight flagged ones and the first of
/// the others are drawn, 16 together, unless `plots` asks for all. A channel without a spectrum has no spectrum plot.
///
/// # Errors
/// If a plot cannot be written.
pub fn write(folder: &Path, result: &SpeResult, plots: &SpePlots) -> Result<Vec<PathBuf>> {
    let mut figures = vec![("overview.svg".to_owned(), overview::figure(result))];
    for channel in single_channels(&result.channels, plots.all_channels) {
        let name = |kind: &str| format!("channel_{:05}_{kind}.svg", channel.channel_id);
        if let Some(spectrum) = channel.spectrum.as_ref().filter(|s| s.entries() > 0) {
            let figure = channel::spectrum(channel, spectrum, result.run, plots.linear_y);
            figures.push((name("spectrum"), figure));
        }
        let figure = channel::template(channel, plots.sampling_ns);
        figures.push((name("template"), figure));
    }
    write_figures(folder, figures)
}

/// Writes figures into `folder`, which is created if it does not exist, and returns the paths.
fn write_figures(
    folder: &Path,
    figures: impl IntoIterator<Item = (String, Figure)>,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .map_err(|cause| Error::output(folder, "the folder cannot be made").with_source(cause))?;
    let mut written = Vec::new();
    for (name, figure) in figures {
        let path = folder.join(name);
        std::fs::write(&path, layout::svg(&figure)?).map_err(|cause| {
            Error::output(&path, "the plot cannot be written").with_source(cause)
        })?;
        written.push(path);
    }
    Ok(written)
}

/// Returns the channels that get pictures of their own, in their order.
fn single_channels(channels: &[ChannelSpe], all: bool) -> Vec<&ChannelSpe> {
    if all || channels.len() <= MAX_SINGLE {
        return channels.iter().collect();
    }
    let is_flagged = |channel: &&ChannelSpe| channel.calibration.flags != Flags::NONE;
    let flagged = channels.iter().filter(is_flagged);
    let others = channels.iter().filter(|channel| !is_flagged(channel));
    let n_others = MAX_SINGLE - flagged.clone().count().min(MAX_FLAGGED);
    let n_flagged = MAX_SINGLE - others.clone().count().min(n_others);
    let mut chosen: Vec<&ChannelSpe> = flagged
        .take(n_flagged)
        .chain(others.take(n_others))
        .collect();
    chosen.sort_by_key(|channel| channel.channel_id);
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::defects::DefectCounts;
    use super::super::parameters::RunKind;
    use super::super::{RunProblems, Spectrum, SpectrumFit};
    use super::*;
    use crate::model::ChannelCalibration;

    fn channel(channel_id: u32, flags: Flags) -> ChannelSpe {
        let mut spectrum = Spectrum::new(100.0);
        for (charge, n) in [(0.0, 400), (100.0, 90), (190.0, 12)] {
            (0..n).for_each(|k| spectrum.fill(charge + 0.3 * f64::from(k % 40) - 6.0));
        }
        spectrum.overflow = 3;
        ChannelSpe {
            channel_id,
            n_waveforms: 505,
            left_out: DefectCounts::default(),
            is_upside_down: false,
            problems: RunProblems::default(),
            quiet: None,
            baseline_adc: 1000.0,
            window: Some((10, 40)),
            fit: Some(SpectrumFit {
                mean_pe: 0.23,
                gain: 100.0 + f64::from(channel_id % 7),
                gain_sigma: 8.0,
                pedestal: 0.0,
                pedestal_sigma: 6.0,
                quality: 1.0,
                entries: spectrum.entries() as f64,
            }),
            fit_errors: None,
            cut: None,
            fwhm_error_ns: 0.1,
            spectrum: Some(spectrum),
            n_pulses: 90,
            peak_adc: 10.0,
            fwhm_ns: 9.0,
            light_time_ns: Some(300.0),
            calibration: ChannelCalibration {
                template_adc: vec![0.0, 5.0, 10.0, 4.0, 0.0],
                noise_adc: 2.0 + 0.01 * (channel_id % 11) as f32,
                time_offset_ns: 0.0,
                dark_rate_hz: 0.0,
                charge_sigma_pe: 0.08,
                time_sigma_ns: 1.0,
                sampling_ns: 1.0,
                baseline_noise_ratio: 1.0,
                flags,
                measurement: None,
            },
        }
    }

    fn result(n: u32) -> SpeResult {
        let flags = |id: u32| {
            if id % 50 == 49 {
                Flags::TEMPLATE_FALLBACK
            } else {
                Flags::NONE
            }
        };
        let channels: Vec<_> = (0..n).map(|id| channel(id, flags(id))).collect();
        SpeResult {
            run: RunKind::Led,
            default_row: channels[0].calibration.clone(),
            channels,
        }
    }

    #[test]
    fn of_many_channels_the_first_and_the_flagged_are_drawn() {
        let ids = |n: u32, all: bool| -> Vec<u32> {
            let result = result(n);
            let chosen = single_channels(&result.channels, all);
            chosen.iter().map(|channel| channel.channel_id).collect()
        };
        assert_eq!(ids(16, false), (0..16).collect::<Vec<_>>());
        let mut expected: Vec<u32> = (0..12).collect();
        expected.extend([49, 99, 149, 199]);
        assert_eq!(ids(200, false), expected);
        assert_eq!(ids(2000, false).len(), 16);
        assert_eq!(ids(200, true).len(), 200);
    }

    #[test]
    fn the_spectrum_states_error_chi_square_and_what_is_not_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let plots = SpePlots {
            sampling_ns: 1.0,
            linear_y: false,
            all_channels: false,
        };
        let paths = write(folder.path(), &result(2), &plots).unwrap();
        assert_eq!(paths.len(), 5);
        let text =
            std::fs::read_to_string(folder.path().join("channel_00001_spectrum.svg")).unwrap();
        for part in [
            "Channel 1: charge spectrum",
            "pedestal",
            "gain 101.0 \u{b1} ",
            "\u{3c7}\u{b2}/ndf = ",
            "505 waveforms",
            "3 charges above the axis",
            "Pull",
        ] {
            assert!(text.contains(part), "`{part}` is not there");
        }
    }

    #[test]
    fn an_overview_of_junos_channels_is_a_small_file() {
        let text = layout::svg(&overview::figure(&result(17_612))).unwrap();
        assert!(text.len() < 3_000_000, "{}", text.len());
        for part in ["Gain", "Noise", "spread", "17,612 channels", "flagged"] {
            assert!(text.contains(part), "`{part}` is not there");
        }
        assert!(!text.contains("NaN"));
    }
}
