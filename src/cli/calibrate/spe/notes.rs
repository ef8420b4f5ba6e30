//! What `nuwave calibrate spe` says about the waveforms: those left out, moving baselines, lines in the noise, cut templates.

use crate::calibrate::spe::{ChannelSpe, CutTail, SpeResult};
use crate::calibrate::{NoiseLine, QuietNoise, RunProblems};
use crate::text::{counted, thousands};

/// Share of the windows without light with a moving baseline from which it is said.
const MOVING_SHARE: f64 = 0.1;
/// A baseline can be followed up to this frequency.
const FOLLOWED_MHZ: f64 = 5.0;
/// Channels that are named in a note.
const MAX_NAMED: usize = 4;

/// Returns the notes, one line each.
pub(super) fn notes(result: &SpeResult, sampling_ns: f64) -> Vec<String> {
    let channels = &result.channels;
    let mut notes = Vec::new();
    let n_waveforms: u64 = channels.iter().map(|channel| channel.n_waveforms).sum();
    for (defect, count) in result.left_out().found() {
        let of: Vec<u32> = ids(channels, |channel| {
            channel.left_out.found().any(|(other, _)| other == defect)
        });
        notes.push(format!(
            "warning: {} of {} left out, {}: {}",
            thousands(count),
            counted(n_waveforms, "waveform"),
            defect.words(),
            named(&of)
        ));
    }
    let down = ids(channels, |channel| channel.is_upside_down);
    if !down.is_empty() {
        notes.push(format!(
            "warning: most pulses of {} point away from the stated direction of light",
            named(&down)
        ));
    }
    let moving = moving(channels);
    notes.extend(problems(channels, moving.is_some()));
    notes.extend(moving);
    notes.extend(lines(channels));
    notes.extend(cut(channels, sampling_ns));
    notes
}

fn ids(channels: &[ChannelSpe], is: impl Fn(&ChannelSpe) -> bool) -> Vec<u32> {
    channels
        .iter()
        .filter(|channel| is(channel))
        .map(|channel| channel.channel_id)
        .collect()
}

/// Names channels, if they are few.
fn named(ids: &[u32]) -> String {
    if ids.len() > MAX_NAMED {
        return counted(ids.len() as u64, "channel");
    }
    let names: Vec<String> = ids.iter().map(u32::to_string).collect();
    let noun = if ids.len() == 1 {
        "channel"
    } else {
        "channels"
    };
    format!("{noun} {}", names.join(", "))
}

fn quiet(channels: &[ChannelSpe]) -> impl Iterator<Item = (u32, &QuietNoise)> {
    channels
        .iter()
        .filter_map(|channel| Some((channel.channel_id, channel.quiet.as_ref()?)))
}

fn moving(channels: &[ChannelSpe]) -> Option<String> {
    let (n_moving, n_windows) = quiet(channels).fold((0, 0), |(moving, all), (_, noise)| {
        (moving + noise.n_moving, all + noise.n_windows)
    });
    let share = n_moving as f64 / n_windows.max(1) as f64;
    (share > MOVING_SHARE).then(|| {
        format!(
            "warning: the baseline moves in {:.0} % of the waveforms without light ({} of {})",
            100.0 * share,
            thousands(n_moving),
            thousands(n_windows)
        )
    })
}

/// Runs that could be calibrated, but whose results may be wrong. `is_moving_known`: a note says already that the baseline moves.
fn problems(channels: &[ChannelSpe], is_moving_known: bool) -> Vec<String> {
    // The channels with a problem, its number of waveforms, and the number of all waveforms.
    let affected = |has: fn(&RunProblems) -> bool, count: fn(&RunProblems) -> u64| {
        let of = ids(channels, |channel| has(&channel.problems));
        let problems = channels.iter().map(|channel| &channel.problems);
        let (n, all) = problems
            .filter(|problems| has(problems))
            .fold((0, 0), |(n, all), problems| {
                (n + count(problems), all + problems.n_waveforms)
            });
        (!of.is_empty()).then(|| {
            let all = counted(all, "waveform");
            (named(&of), format!("{} of {all}", thousands(n)))
        })
    };
    let moving = affected(RunProblems::has_moving_baseline, |problems| {
        problems.n_moving
    });
    let spiked = affected(RunProblems::has_spikes, |problems| problems.n_spiked);
    let uneven = affected(RunProblems::has_uneven_noise, |problems| {
        problems.n_waveforms
    });
    [
        moving.filter(|_| !is_moving_known).map(|(of, n)| {
            format!("warning: the baseline moves in {n} of {of}: gain, noise and template may be wrong")
        }),
        spiked.map(|(of, n)| {
            format!("warning: single samples stick out in {n} of {of}: spikes, or pulses shorter than two samples")
        }),
        uneven.map(|(of, _)| {
            format!("warning: the noise differs between the waveforms of {of}: noise and threshold may be wrong for part of the run")
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The strongest line, and how many channels have lines.
fn lines(channels: &[ChannelSpe]) -> Option<String> {
    let strongest = |noise: &QuietNoise| noise.lines.first().copied();
    let with_lines: Vec<(u32, NoiseLine)> = quiet(channels)
        .filter_map(|(id, noise)| Some((id, strongest(noise)?)))
        .collect();
    let (id, line) = with_lines
        .iter()
        .max_by(|a, b| a.1.amplitude_adc.total_cmp(&b.1.amplitude_adc))?;
    let followed = if line.frequency_mhz > FOLLOWED_MHZ {
        "; the baseline cannot follow it"
    } else {
        ""
    };
    let others = if with_lines.len() > 1 {
        format!(
            "; {} have lines",
            counted(with_lines.len() as u64, "channel")
        )
    } else {
        String::new()
    };
    Some(format!(
        "note: the noise of channel {id} has a line at {:.2} MHz with an amplitude of {:.2} ADC counts{followed}{others}",
        line.frequency_mhz, line.amplitude_adc
    ))
}

/// The templates that end before their tails, and how long a window they need.
fn cut(channels: &[ChannelSpe], sampling_ns: f64) -> Option<String> {
    let found: Vec<(u32, CutTail)> = channels
        .iter()
        .filter_map(|channel| Some((channel.channel_id, channel.cut?)))
        .collect();
    let (_, longest) = found
        .iter()
        .max_by_key(|(_, cut)| (cut.decay.map(|decay| decay.1), cut.measured_samples))?;
    let ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
    let n_continued = found.iter().filter(|(_, cut)| cut.decay.is_some()).count();
    let ns = |samples: usize| thousands((samples as f64 * sampling_ns).ceil() as u64);
    let need = match longest.decay {
        Some((decay, rest)) => format!(
            "{} continued by an exponential with {} ns; windows of {} ns from the light on show all of it",
            thousands(n_continued as u64),
            thousands((decay * sampling_ns).round() as u64),
            ns(rest)
        ),
        None => "its end shows no decay; take windows several times as long".to_owned(),
    };
    Some(format!(
        "warning: the template ends before its tail does in {}: after {} ns it is at {:.2} % of its peak; {need}",
        named(&ids),
        ns(longest.measured_samples),
        100.0 * longest.share
    ))
}
