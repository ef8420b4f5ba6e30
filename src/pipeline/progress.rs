//! Progress: a bar on a terminal, a line now and then elsewhere, nothing if asked to be quiet.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar's style with indicatif's keys, and `{rate}`: how many are done a second. A template that indicatif does not
/// take gives its default style.
#[must_use]
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "rate",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Nothing can be done about a terminal's line that cannot be written.
                let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
            },
        )
        .progress_chars("=> ")
}

/// How far a run has come.
pub struct Progress(Kind);

enum Kind {
    Silent,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    start: Instant,
    next: Instant,
    done: u64,
    events: u64,
    total: Option<u64>,
}

impl Progress {
    /// Progress towards `total` waveforms, if that is known.
    #[must_use]
    pub fn new(total: Option<u64>, quiet: bool) -> Self {
        if quiet {
            return Self(Kind::Silent);
        }
        if !std::io::stderr().is_terminal() {
            let start = Instant::now();
            return Self(Kind::Lines(Mutex::new(Lines {
                start,
                next: start + LINE_EVERY,
                done: 0,
                events: 0,
                total,
            })));
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:32} {percent:>3} %  {human_pos} of {human_len} waveforms  {rate} a second  {eta} left  {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} waveforms  {rate} a second  {elapsed}  {msg}",
            ),
        };
        bar.set_style(style(template));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Kind::Bar(bar))
    }

    /// `waveforms` more are done, with `hits` hits.
    pub fn advance(&self, waveforms: u64, hits: u64) {
        match &self.0 {
            Kind::Silent => {}
            Kind::Bar(bar) => {
                bar.inc(waveforms);
                bar.set_message(format!(
                    "{:.2} hits each",
                    hits as f64 / waveforms.max(1) as f64
                ));
            }
            Kind::Lines(lines) => {
                let Ok(mut lines) = lines.lock() else { return };
                lines.done += waveforms;
                let now = Instant::now();
                if now >= lines.next {
                    lines.next = now + LINE_EVERY;
                    let rate = lines.done as f64 / (now - lines.start).as_secs_f64();
                    let of = lines
                        .total
                        .map(|total| format!(" of {total}"))
                        .unwrap_or_default();
                    // A terminal that has gone away is no reason to end a run.
                    let _ = writeln!(
                        std::io::stderr().lock(),
                        "{}{of} waveforms, {rate:.0} a second",
                        lines.done
                    );
                }
            }
        }
    }

    /// `events` more are reconstructed, with `hits` hits.
    pub fn advance_events(&self, events: u64, hits: u64) {
        match &self.0 {
            Kind::Silent => {}
            Kind::Bar(bar) => bar.set_message(format!(
                "events: {:.0} hits each",
                hits as f64 / events.max(1) as f64
            )),
            Kind::Lines(lines) => {
                let Ok(mut lines) = lines.lock() else { return };
                lines.events += events;
                let now = Instant::now();
                if now >= lines.next {
                    lines.next = now + LINE_EVERY;
                    let _ = writeln!(std::io::stderr().lock(), "{} events", lines.events);
                }
            }
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Kind::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
