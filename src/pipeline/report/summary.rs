//! The summary of a report for the terminal.

use std::fmt::Write as _;

use super::Report;
use crate::model::Flags;

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
            format!("{:.0} waveforms/s", timings.waveforms_per_s)
        };
        let _ = writeln!(
            text,
            "  {:<12} {:.2} s, {rate} on {} thread{}",
            "time",
            timings.total_s,
            timings.threads,
            plural(timings.threads)
        );
        text
    }

    fn hits_line(&self) -> String {
        let lost = match self.totals.lost {
            0 => String::new(),
            lost => format!(", {lost} lost and listed in the report"),
        };
        format!(
            "{} in {} input{}{lost}",
            self.totals.hits,
            self.inputs.len(),
            plural(self.inputs.len())
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
                    "{} in {} input{}, {:.1} million samples",
                    totals.waveforms,
                    self.inputs.len(),
                    plural(self.inputs.len()),
                    totals.samples as f64 / 1e6
                ),
            ),
            ("with light", format!("{lit} ({:.1} %)", share(lit))),
            (
                "hits",
                format!(
                    "{} ({:.2} per waveform with light), {:.1} PE in total ({:.2} PE per hit)",
                    totals.hits,
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
        for (name, count) in &self.flags {
            let known = Flags::ALL.iter().find(|(_, other, _)| name == other);
            let meaning = known.map_or("", |(_, _, meaning)| *meaning);
            lines.push((
                "flagged",
                format!("{count} ({:.2} %) {name}: {meaning}", share(*count)),
            ));
        }
        if totals.lost > 0 {
            lines.push((
                "lost",
                format!("{} waveforms, listed in the report", totals.lost),
            ));
        }
        lines
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
