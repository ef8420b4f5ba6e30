//! The summary of a report for the terminal.

use std::fmt::Write as _;

use super::{Report, Totals};
use crate::model::Flags;
use crate::text::{counted, thousands};

impl Totals {
    /// Returns the number of lost waveforms in words: `12`, or `at least 12` if some losses are of an unknown number.
    #[must_use]
    pub fn lost_text(&self) -> String {
        let at_least = if self.lost_unknown > 0 {
            "at least "
        } else {
            ""
        };
        format!("{at_least}{}", thousands(self.lost))
    }
}

impl Report {
    /// Returns a summary for the terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let lines = if self.from == "hits" {
            vec![("hits", self.hits_line())]
        } else {
            self.waveform_lines()
        };
        for (name, value) in lines.into_iter().chain(self.events.lines()) {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "  {name:<12} {value}");
        }
        let timings = &self.timings;
        let rate = if self.from == "hits" {
            let each = timings.mean_event_ms.unwrap_or(0.0);
            format!("{each:.2} ms per event and thread")
        } else {
            format!("{} waveforms/s", thousands(timings.waveforms_per_s as u64))
        };
        let _ = writeln!(
            text,
            "  {:<12} {:.2} s, {rate} on {}",
            "time",
            timings.total_s,
            counted(timings.threads as u64, "thread")
        );
        text
    }

    fn hits_line(&self) -> String {
        let lost = match self.totals.lost {
            0 => String::new(),
            _ => format!(
                ", {} lost and listed in the report",
                self.totals.lost_text()
            ),
        };
        format!(
            "{} in {}{lost}",
            thousands(self.totals.hits),
            counted(self.inputs.len() as u64, "input")
        )
    }

    fn waveform_lines(&self) -> Vec<(&'static str, String)> {
        let totals = &self.totals;
        // A damaged report may state more empty waveforms than there are.
        let lit = totals.waveforms.saturating_sub(totals.empty);
        let share = |part: u64| 100.0 * part as f64 / totals.waveforms.max(1) as f64;
        let mut lines = vec![
            (
                "waveforms",
                format!(
                    "{} in {}, {:.1} million samples",
                    thousands(totals.waveforms),
                    counted(self.inputs.len() as u64, "input"),
                    totals.samples as f64 / 1e6
                ),
            ),
            (
                "with light",
                format!("{} ({:.1} %)", thousands(lit), share(lit)),
            ),
            (
                "hits",
                format!(
                    "{} ({:.2} per waveform with light), {:.1} PE in total ({:.2} PE per hit)",
                    thousands(totals.hits),
                    totals.hits as f64 / lit.max(1) as f64,
                    totals.charge_pe,
                    totals.charge_pe / totals.hits.max(1) as f64
                ),
            ),
        ];
        if let (Some(baseline), Some(noise)) = (totals.mean_baseline_adc, totals.mean_noise_adc) {
            lines.push((
                "baseline",
                format!("{baseline:.1} ADC, noise {noise:.2} ADC per sample (means)"),
            ));
        }
        for (label, is_information) in [("information", true), ("flagged", false)] {
            let of_kind = |name: &str| Flags::is_information(name) == is_information;
            for (name, &count) in self.flags.iter().filter(|(name, _)| of_kind(name)) {
                let meaning = Flags::by_name(name).map_or("", |(_, meaning)| meaning);
                lines.push((
                    label,
                    format!(
                        "{} ({:.2} %) {name}: {meaning}",
                        thousands(count),
                        share(count)
                    ),
                ));
            }
        }
        if totals.lost > 0 {
            lines.push((
                "lost",
                format!(
                    "{} waveform{}, listed in the report",
                    totals.lost_text(),
                    if totals.lost == 1 { "" } else { "s" }
                ),
            ));
        }
        lines
    }
}
