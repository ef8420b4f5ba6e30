//! Progress: a bar on a terminal, lines elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::pipeline::memory_mib;
use crate::text::{counted, thousands};

/// Returns a bar's style with indicatif's keys and `{rate}`, the number done per second. An invalid template gives
/// indicatif's default style.
#[must_use]
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "rate",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // An error of the terminal is ignored.
                let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
            },
        )
        .progress_chars("=> ")
}

/// Returns the memory of the process now and at its peak, where the system states it.
#[must_use]
pub(crate) fn memory() -> Option<String> {
    let mib = |line: &str| Some(thousands(memory_mib(line)? as u64));
    Some(format!("{} MiB (peak {})", mib("VmRSS:")?, mib("VmHWM:")?))
}

/// Returns a time in seconds, or in minutes if it is long.
#[must_use]
pub(crate) fn seconds(time_s: f64) -> String {
    if time_s < 600.0 {
        format!("{time_s:.0} s")
    } else {
        format!("{:.0} min", time_s / 60.0)
    }
}

/// The progress of a run.
pub(crate) struct Progress(Kind);

enum Kind {
    Silent,
    Bar(Units),
    Lines(Mutex<Lines>),
}

/// A bar, and the numbers that its bar does not show.
struct Units {
    bar: ProgressBar,
    done: AtomicU64,
    of: Option<u64>,
    waveforms: AtomicU64,
    hits: AtomicU64,
    events: AtomicU64,
}

struct Lines {
    start: Instant,
    next: Instant,
    every: Duration,
    waveforms: u64,
    events: u64,
    units: u64,
    of_waveforms: Option<u64>,
    of_units: Option<u64>,
}

impl Progress {
    /// Starts progress towards `waveforms` and `units`, as far as they are known, with a line every `every` where stderr is not a
    /// terminal.
    #[must_use]
    pub(crate) fn new(
        waveforms: Option<u64>,
        units: Option<u64>,
        every: Duration,
        quiet: bool,
    ) -> Self {
        if quiet {
            return Self(Kind::Silent);
        }
        if !std::io::stderr().is_terminal() {
            let start = Instant::now();
            return Self(Kind::Lines(Mutex::new(Lines {
                start,
                next: start + every,
                every,
                waveforms: 0,
                events: 0,
                units: 0,
                of_waveforms: waveforms.filter(|&total| total > 0),
                of_units: units,
            })));
        }
        let (bar, template) = match waveforms {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:32} {percent:>3} %  {human_pos} of {human_len} waveforms  {rate} per second  {eta} left  {prefix}  {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} waveforms  {rate} per second  {elapsed}  {prefix}  {msg}",
            ),
        };
        bar.set_style(style(template));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Kind::Bar(Units {
            bar,
            done: AtomicU64::new(0),
            of: units,
            waveforms: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            events: AtomicU64::new(0),
        }))
    }

    /// Counts `waveforms` more, with `hits` hits.
    pub(crate) fn advance(&self, waveforms: u64, hits: u64) {
        match &self.0 {
            Kind::Silent => {}
            Kind::Bar(units) => {
                units.bar.inc(waveforms);
                let waveforms = waveforms + units.waveforms.fetch_add(waveforms, Ordering::Relaxed);
                let hits = hits + units.hits.fetch_add(hits, Ordering::Relaxed);
                units.bar.set_message(format!(
                    "{:.2} hits per waveform",
                    hits as f64 / waveforms.max(1) as f64
                ));
            }
            Kind::Lines(lines) => Lines::add(lines, |lines| lines.waveforms += waveforms),
        }
    }

    /// Counts `events` more.
    pub(crate) fn advance_events(&self, events: u64) {
        match &self.0 {
            Kind::Silent => {}
            Kind::Bar(units) => {
                let events = events + units.events.fetch_add(events, Ordering::Relaxed);
                units
                    .bar
                    .set_message(format!("{} reconstructed", counted(events, "event")));
            }
            Kind::Lines(lines) => Lines::add(lines, |lines| lines.events += events),
        }
    }

    /// Counts one more unit.
    pub(crate) fn finish_unit(&self) {
        match &self.0 {
            Kind::Silent => {}
            Kind::Bar(units) => {
                let done = units.done.fetch_add(1, Ordering::Relaxed) + 1;
                if let Some(of) = units.of.filter(|&of| of > 1) {
                    units.bar.set_prefix(format!("{done} of {of} units"));
                }
            }
            Kind::Lines(lines) => Lines::add(lines, |lines| lines.units += 1),
        }
    }

    /// Clears the bar.
    pub(crate) fn finish(&self) {
        if let Kind::Bar(units) = &self.0 {
            units.bar.finish_and_clear();
        }
    }
}

impl Lines {
    /// Adds to a count, and prints a line if one is due.
    fn add(lines: &Mutex<Self>, add: impl FnOnce(&mut Self)) {
        let Ok(mut lines) = lines.lock() else { return };
        add(&mut lines);
        let now = Instant::now();
        if now >= lines.next {
            lines.next = now + lines.every;
            // A closed terminal must not end a run.
            let _ = writeln!(
                std::io::stderr().lock(),
                "{}",
                lines.line((now - lines.start).as_secs_f64())
            );
        }
    }

    /// Returns the line to print after `took_s`.
    fn line(&self, took_s: f64) -> String {
        let mut parts = Vec::new();
        if let Some(units) = self.of_units.filter(|&units| units > 1) {
            parts.push(format!(
                "{} of {}",
                thousands(self.units),
                counted(units, "unit")
            ));
        }
        let mut done = self.units as f64 / self.of_units.unwrap_or(0).max(1) as f64;
        let rate = |count: u64| thousands((count as f64 / took_s) as u64);
        if self.waveforms > 0 {
            let count = match self.of_waveforms {
                Some(total) => {
                    done = self.waveforms as f64 / total as f64;
                    format!(
                        "{} of {}",
                        thousands(self.waveforms),
                        counted(total, "waveform")
                    )
                }
                None => counted(self.waveforms, "waveform"),
            };
            parts.push(format!("{count}, {} per second", rate(self.waveforms)));
        }
        if self.events > 0 {
            parts.push(format!(
                "{}, {} per second",
                counted(self.events, "event"),
                rate(self.events)
            ));
        }
        if done > 0.0 {
            let left_s = took_s * (1.0 / done - 1.0).max(0.0);
            parts.push(format!("{} left", seconds(left_s)));
        }
        parts.extend(memory());
        parts.join(", ")
    }
}
