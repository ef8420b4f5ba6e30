//! The text that `nuwave inspect` prints.

use std::fmt::Write as _;
use std::path::Path;

use super::inspection::{
    CalibrationFile, EventsTable, HitsFile, Inspection, OutputFolder, TruthFile, WaveformFile,
};
use crate::evaluate::survey::{FirstRow, SurveyResult};
use crate::io::Loss;
use crate::model::{Flags, Polarity};
use crate::text::{counted, thousands, with_error};

/// Returns the content as text.
pub(super) fn text(path: &Path, found: &Inspection, n_rows: usize) -> String {
    let mut text = format!("{}\n", path.display());
    match found {
        Inspection::Waveforms(file) => waveforms_text(&mut text, file),
        Inspection::Truth(file) => truth_text(&mut text, file),
        Inspection::Hits(file) => hits_text(&mut text, file),
        Inspection::Calibration(file) => calibration_text(&mut text, file, n_rows),
        Inspection::Output(folder) => output_text(&mut text, folder),
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<16} {value}");
}

fn or_unsaid<T: std::fmt::Display>(value: Option<T>, unit: &str) -> String {
    value.map_or_else(
        || "not in the file".to_owned(),
        |value| format!("{value}{unit}"),
    )
}

/// Returns the remark on a value that an option states.
fn remark(is_given: bool) -> &'static str {
    if is_given { " (given)" } else { "" }
}

fn direction(polarity: Polarity) -> &'static str {
    match polarity {
        Polarity::Negative => "negative",
        Polarity::Positive => "positive",
    }
}

fn waveforms_text(text: &mut String, file: &WaveformFile) {
    line(
        text,
        "format",
        format!("{}, {} bytes", file.format, thousands(file.bytes)),
    );
    line(
        text,
        "waveforms",
        format!("{}, samples of type {}", file.layout, file.sample_type),
    );
    line(
        text,
        "count",
        or_unsaid(file.n_waveforms.map(thousands), ""),
    );
    let given = file.given;
    line(
        text,
        "sampling",
        or_unsaid(file.sampling_ns, " ns") + remark(given.sampling_ns),
    );
    line(
        text,
        "resolution",
        or_unsaid(file.adc_bits, " bit") + remark(given.adc_bits),
    );
    let suggested = file.survey.as_ref().map_or_else(String::new, |survey| {
        let skewness = survey.skewness.unwrap_or(0.0);
        match survey.polarity_by_skewness {
            Some(polarity) => format!(
                "; the data suggest {} (skewness {skewness:.1})",
                direction(polarity)
            ),
            None => format!("; not clear from the data (skewness {skewness:.1})"),
        }
    });
    line(
        text,
        "polarity",
        or_unsaid(file.polarity.map(direction), "") + remark(given.polarity) + &suggested,
    );
    if let Some(detector) = &file.detector {
        line(text, "detector", detector);
    }
    if let Some(truth) = &file.truth {
        line(text, "truth", truth_words(truth));
    }
    if let Some(survey) = &file.survey {
        survey_text(text, survey);
    } else {
        line(text, "", "no waveform could be read");
    }
    for remark in &file.remarks {
        line(text, "note", remark);
    }
    losses_text(text, &file.losses);
    let first = file.survey.iter().flat_map(|survey| &survey.first);
    first_rows_text(text, first);
}

fn survey_text(text: &mut String, survey: &SurveyResult) {
    let _ = writeln!(
        text,
        "\n  in the first {}:",
        counted(survey.n_waveforms, "waveform")
    );
    let lengths = if survey.samples_min == survey.samples_max {
        format!("{} samples each", survey.samples_min)
    } else {
        format!(
            "{} to {} samples, median {}",
            survey.samples_min, survey.samples_max, survey.samples_median
        )
    };
    line(text, "length", lengths);
    line(
        text,
        "events",
        format!(
            "{} ({} to {})",
            thousands(survey.n_events as u64),
            survey.event_min,
            survey.event_max
        ),
    );
    line(
        text,
        "channels",
        format!(
            "{} ({} to {})",
            thousands(survey.n_channels as u64),
            survey.channel_min,
            survey.channel_max
        ),
    );
    if let (Some(low), Some(high)) = (survey.value_min, survey.value_max) {
        line(text, "values", format!("{low} to {high}"));
    }
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "not known".to_owned(), |s| format!("{:.2} %", 100.0 * s))
    };
    if survey.share_at_lowest.is_some() {
        line(
            text,
            "at the rails",
            format!(
                "{} of the waveforms touch the lowest count, the highest: {}",
                percent(survey.share_at_lowest),
                percent(survey.share_at_highest)
            ),
        );
    }
    if survey.waveforms_not_finite > 0 {
        line(
            text,
            "not finite",
            format!(
                "NaN or infinity in {}",
                counted(survey.waveforms_not_finite, "waveform")
            ),
        );
    }
}

fn first_rows_text<'a>(text: &mut String, rows: impl Iterator<Item = &'a FirstRow>) {
    let _ = writeln!(
        text,
        "\n  {:>12} {:>10} {:>8}  samples",
        "event_id", "channel_id", "length"
    );
    for row in rows {
        let samples: Vec<_> = row.samples.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "  {:>12} {:>10} {:>8}  {} ..",
            row.event_id,
            row.channel_id,
            row.n_samples,
            samples.join(" ")
        );
    }
}

fn losses_text(text: &mut String, losses: &[Loss]) {
    for loss in losses.iter().take(10) {
        line(
            text,
            "not readable",
            format!("{}: {}", loss.place, loss.reason),
        );
    }
    if losses.len() > 10 {
        line(
            text,
            "",
            format!("and {} more", thousands(losses.len() as u64 - 10)),
        );
    }
}

fn truth_words(truth: &TruthFile) -> String {
    format!(
        "{} in {}, {}",
        counted(truth.photoelectrons as u64, "photoelectron"),
        counted(truth.waveforms_with_photoelectrons as u64, "waveform"),
        counted(truth.events as u64, "event")
    )
}

fn truth_text(text: &mut String, truth: &TruthFile) {
    line(text, "truth", truth_words(truth));
    if let (Some(low), Some(high)) = (truth.time_min_ns, truth.time_max_ns) {
        line(text, "times", format!("{low:.1} to {high:.1} ns"));
    }
    if let Some(mean) = truth.mean_charge_pe {
        line(text, "mean charge", format!("{mean:.3} PE"));
    }
}

fn hits_text(text: &mut String, file: &HitsFile) {
    line(text, "hits", thousands(file.hits));
    if let (Some(low), Some(high)) = (file.event_min, file.event_max) {
        line(
            text,
            "events",
            format!("{} ({low} to {high})", thousands(file.events as u64)),
        );
    }
    line(text, "channels", thousands(file.channels as u64));
    if let (Some(low), Some(high)) = (file.time_min_ns, file.time_max_ns) {
        line(text, "times", format!("{low:.1} to {high:.1} ns"));
    }
    if let Some(mean) = file.mean_charge_pe {
        line(text, "mean charge", format!("{mean:.3} PE"));
    }
}

fn events_text(text: &mut String, events: &EventsTable) {
    let range = match (events.event_min, events.event_max) {
        (Some(low), Some(high)) => format!(" ({low} to {high})"),
        _ => String::new(),
    };
    line(text, "events", format!("{}{range}", thousands(events.rows)));
    line(
        text,
        "",
        format!(
            "{} with a vertex, {} with an energy",
            thousands(events.with_vertex),
            thousands(events.with_energy)
        ),
    );
    if let Some(mean) = events.mean_energy_mev {
        line(text, "mean energy", format!("{mean:.3} MeV"));
    }
    for (name, count) in &events.flags {
        line(
            text,
            "flag",
            format!("{name}: {}", counted(*count, "event")),
        );
    }
}

fn calibration_text(text: &mut String, file: &CalibrationFile, n_rows: usize) {
    let default = if file.has_default {
        ", and a default for all others"
    } else {
        ""
    };
    line(
        text,
        "calibration",
        counted(file.channels as u64, "channel") + default,
    );
    let fallback = Flags::TEMPLATE_FALLBACK.names().next().unwrap_or_default();
    let n_fallback = file
        .rows
        .iter()
        .filter(|row| row.flags.contains(&fallback))
        .count();
    if n_fallback > 0 {
        line(
            text,
            "fallback",
            format!(
                "{} with a template of another channel or of all",
                counted(n_fallback as u64, "row")
            ),
        );
    }
    let _ = writeln!(
        text,
        "\n  {:>10} {:>17} {:>17} {:>8} {:>9} {:>9} {:>9} {:>11} {:>9}  flags",
        "channel_id",
        "gain ADC x sample",
        "area ADC x sample",
        "pulses",
        "peak ADC",
        "noise ADC",
        "sigma PE",
        "samples",
        "offset ns"
    );
    for row in file.rows.iter().take(n_rows) {
        let channel = row
            .channel_id
            .map_or_else(|| "default".to_owned(), |id| id.to_string());
        let gain = row.gain_adc_samples.map_or_else(
            || "-".to_owned(),
            |gain| {
                with_error(
                    gain.into(),
                    row.gain_error_adc_samples.unwrap_or(f32::NAN).into(),
                    1,
                )
            },
        );
        let pulses = row.n_pulses.map_or_else(|| "-".to_owned(), thousands);
        let _ = writeln!(
            text,
            "  {channel:>10} {gain:>17} {:>17.1} {pulses:>8} {:>9.1} {:>9.2} {:>9.3} {:>11} {:>9.2}  {}",
            row.area_adc_samples,
            row.peak_adc,
            row.noise_adc,
            row.charge_sigma_pe,
            format!("{} x {} ns", row.template_samples, row.sampling_ns),
            row.time_offset_ns,
            row.flags.join(" ")
        );
    }
    if file.rows.len() > n_rows {
        let more = counted((file.rows.len() - n_rows) as u64, "row");
        let _ = writeln!(text, "  and {more} more");
    }
}

fn output_text(text: &mut String, folder: &OutputFolder) {
    let word = |key: &str| {
        folder
            .report
            .get(key)
            .and_then(|value| value.as_str())
            .unwrap_or("not said")
    };
    line(
        text,
        "reconstruction",
        format!(
            "{}, by nuwave {}, backend {}",
            word("status"),
            word("nuwave"),
            word("backend")
        ),
    );
    for (name, rows) in [("waveforms", folder.waveforms), ("hits", folder.hits)] {
        if let Some(rows) = rows {
            line(text, name, thousands(rows));
        }
    }
    if let Some(events) = &folder.events {
        events_text(text, events);
    }
    let inputs = folder
        .report
        .get("inputs")
        .and_then(|inputs| inputs.as_array());
    for input in inputs.into_iter().flatten() {
        let count = |key: &str, noun: &str| {
            let count = input.get(key).and_then(serde_json::Value::as_u64);
            count.map_or_else(|| format!("? {noun}s"), |count| counted(count, noun))
        };
        let number = |key: &str| input.get(key).and_then(serde_json::Value::as_u64);
        let mut lost = thousands(number("lost").unwrap_or(0));
        if number("lost_unknown").unwrap_or(0) > 0 {
            lost = format!("at least {lost}");
        }
        let path = input
            .get("path")
            .and_then(|path| path.as_str())
            .unwrap_or("?");
        line(
            text,
            "input",
            // A pass over hits has no waveforms.
            if word("from") == "hits" {
                format!("{path}: {}, {lost} lost", count("hits", "hit"))
            } else {
                format!(
                    "{path}: {}, {lost} lost, {}",
                    count("waveforms", "waveform"),
                    count("hits", "hit")
                )
            },
        );
    }
    let flags = folder
        .report
        .get("flags")
        .and_then(|flags| flags.as_object());
    for (label, is_information) in [("information", true), ("flag", false)] {
        let of_kind = |name: &str| Flags::is_information(name) == is_information;
        let flags = flags.into_iter().flatten();
        for (name, count) in flags.filter(|(name, _)| of_kind(name)) {
            let count = counted(count.as_u64().unwrap_or(0), "waveform");
            line(text, label, format!("{name}: {count}"));
        }
    }
}
