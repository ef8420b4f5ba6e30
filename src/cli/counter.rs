//! The progress of commands that count items in one pass or several: a bar on a terminal, lines elsewhere, nothing with `--quiet`.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::progress::{memory, seconds, style};
use crate::text::{counted, thousands};

/// Time between two lines where stderr is not a terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a command.
pub(crate) struct Counter {
    /// `None` with `--quiet`.
    state: Option<Mutex<State>>,
}

struct State {
    /// The noun of one item.
    noun: &'static str,
    /// Items per pass; known after the first pass at the latest.
    total: Option<u64>,
    passes: u64,
    /// The pass in progress, from 1.
    pass: u64,
    /// The last step, which counts bytes.
    step: Option<&'static str>,
    done: u64,
    pass_start: Instant,
    next: Instant,
    /// `None` where stderr is not a terminal.
    bar: Option<ProgressBar>,
}

impl Counter {
    /// Starts progress over `passes` passes of `total` items each, if their number is known.
    #[must_use]
    pub fn new(noun: &'static str, total: Option<u64>, passes: u64, quiet: bool) -> Self {
        if quiet {
            return Self { state: None };
        }
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let state = State {
            noun,
            total: total.filter(|&total| total > 0),
            passes,
            pass: 0,
            step: None,
            done: 0,
            pass_start: now,
            next: now + INTERVAL,
            bar,
        };
        Self {
            state: Some(Mutex::new(state)),
        }
    }

    /// Begins the first pass or the next one.
    pub fn begin_pass(&self) {
        self.update(|state| {
            // The number of items is that of the pass before.
            if state.pass > 0 && state.done > 0 {
                state.total = Some(state.done);
            }
            state.pass += 1;
            state.done = 0;
            state.pass_start = Instant::now();
            state.reset_bar();
        });
    }

    /// Counts `items` more.
    pub fn add(&self, items: u64) {
        self.update(|state| {
            state.done += items;
            if let Some(bar) = &state.bar {
                bar.set_position(state.done);
            }
            state.print_if_due();
        });
    }

    /// Reports that `done` of `total` bytes of the last step, `name`, are done.
    pub fn step(&self, name: &'static str, done: u64, total: u64) {
        self.update(|state| {
            if state.step.is_none() {
                state.step = Some(name);
                state.pass_start = Instant::now();
                state.total = Some(total.max(1));
                state.reset_bar();
            }
            state.done = done;
            if let Some(bar) = &state.bar {
                bar.set_position(done);
            }
            state.print_if_due();
        });
    }

    /// Clears the bar.
    pub fn finish(&self) {
        self.update(|state| {
            if let Some(bar) = &state.bar {
                bar.finish_and_clear();
            }
        });
    }

    fn update(&self, update: impl FnOnce(&mut State)) {
        if let Some(Ok(mut state)) = self.state.as_ref().map(Mutex::lock) {
            update(&mut state);
        }
    }
}

impl State {
    /// The beginning of a line: the last step, or the pass if there are several.
    fn prefix(&self) -> String {
        if let Some(step) = self.step {
            format!("{step}: ")
        } else if self.passes > 1 {
            format!("pass {} of {}: ", self.pass, self.passes)
        } else {
            String::new()
        }
    }

    fn reset_bar(&self) {
        let Some(bar) = &self.bar else { return };
        let count = if self.step.is_some() {
            "{bytes} of {total_bytes}".to_owned()
        } else {
            let of = if self.total.is_some() {
                " of {human_len}"
            } else {
                ""
            };
            format!("{{human_pos}}{of} {}s  {{rate}} per second", self.noun)
        };
        let prefix = self.prefix();
        let template = match self.total {
            Some(total) => {
                bar.set_length(total);
                format!("{prefix}{{bar:32}} {{percent:>3}} %  {count}  {{eta}} left")
            }
            None => format!("{prefix}{{spinner}} {count}  {{elapsed}}"),
        };
        bar.set_style(style(&template));
        bar.reset();
    }

    /// Prints a line if one is due and stderr is not a terminal.
    fn print_if_due(&mut self) {
        let now = Instant::now();
        if self.bar.is_none() && now >= self.next {
            self.next = now + INTERVAL;
            let took_s = (now - self.pass_start).as_secs_f64();
            let line = self.line(took_s);
            let memory = memory().map_or_else(String::new, |memory| format!(", {memory}"));
            status!("{line}{memory}");
        }
    }

    /// Returns the line to print `took_s` after the begin of the pass.
    fn line(&self, took_s: f64) -> String {
        let share = self
            .total
            .map(|total| self.done.min(total) as f64 / total as f64);
        let mut parts = Vec::new();
        if self.step.is_some() {
            parts.push(format!("{:.0} %", 100.0 * share.unwrap_or(0.0)));
        } else {
            parts.push(match self.total {
                Some(total) => format!("{} of {}", thousands(self.done), counted(total, self.noun)),
                None => counted(self.done, self.noun),
            });
            let rate = self.done as f64 / took_s.max(1e-9);
            parts.push(format!("{} per second", thousands(rate as u64)));
        }
        if let Some(share) = share.filter(|&share| share > 0.0) {
            let left_s = took_s * (1.0 / share - 1.0).max(0.0);
            let of_pass = if self.passes > 1 { " of this pass" } else { "" };
            parts.push(format!("{} left{of_pass}", seconds(left_s)));
        }
        self.prefix() + &parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(noun: &'static str, total: Option<u64>, passes: u64) -> State {
        let now = Instant::now();
        State {
            noun,
            total,
            passes,
            pass: 3,
            step: None,
            done: 7100,
            pass_start: now,
            next: now,
            bar: None,
        }
    }

    #[test]
    fn a_line_says_the_pass_the_total_and_the_time_left() {
        assert_eq!(
            state("event", Some(28_400), 7).line(10.0),
            "pass 3 of 7: 7,100 of 28,400 events, 710 per second, 30 s left of this pass"
        );
        assert_eq!(
            state("event", None, 7).line(10.0),
            "pass 3 of 7: 7,100 events, 710 per second"
        );
        assert_eq!(
            state("waveform", Some(71_000), 1).line(10.0),
            "7,100 of 71,000 waveforms, 710 per second, 90 s left"
        );
        let last = State {
            step: Some("compressing"),
            ..state("waveform", Some(14_200), 1)
        };
        assert_eq!(last.line(10.0), "compressing: 50 %, 10 s left");
    }

    #[test]
    fn the_second_pass_knows_the_total() {
        let counter = Counter {
            state: Some(Mutex::new(state("event", None, 2))),
        };
        counter.begin_pass();
        counter.add(5);
        counter.update(|state| {
            assert_eq!((state.total, state.done, state.pass), (Some(7100), 5, 4));
        });
    }
}
