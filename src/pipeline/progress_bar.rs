//! The bar that a terminal shows. Without the feature `cli` there is none, and progress is written line by line.

#[cfg(not(feature = "cli"))]
pub(super) use absent::Bar;
#[cfg(feature = "cli")]
pub(super) use shown::Bar;
#[cfg(feature = "cli")]
pub use shown::style;

#[cfg(feature = "cli")]
mod shown {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

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

    /// A bar of waveforms that shows the number of finished units too.
    pub struct Bar {
        bar: ProgressBar,
        done: AtomicU64,
        units: Option<u64>,
    }

    impl Bar {
        /// Shows a bar of `waveforms` and `units`, as far as their numbers are known.
        pub fn new(waveforms: Option<u64>, units: Option<u64>) -> Option<Self> {
            let (bar, template) = match waveforms {
                Some(total) => (
                    ProgressBar::new(total),
                    "{bar:32} {percent:>3} %  {human_pos} of {human_len} waveforms  {rate} a second  {eta} left  {prefix}  {msg}",
                ),
                None => (
                    ProgressBar::new_spinner(),
                    "{spinner} {human_pos} waveforms  {rate} a second  {elapsed}  {prefix}  {msg}",
                ),
            };
            bar.set_style(style(template));
            bar.enable_steady_tick(Duration::from_millis(200));
            Some(Self {
                bar,
                done: AtomicU64::new(0),
                units,
            })
        }

        /// Counts `waveforms` with `hits` hits.
        pub fn advance(&self, waveforms: u64, hits: u64) {
            self.bar.inc(waveforms);
            self.bar.set_message(format!(
                "{:.2} hits each",
                hits as f64 / waveforms.max(1) as f64
            ));
        }

        /// Counts `events` with `hits` hits.
        pub fn advance_events(&self, events: u64, hits: u64) {
            self.bar.set_message(format!(
                "events: {:.0} hits each",
                hits as f64 / events.max(1) as f64
            ));
        }

        /// Counts a finished unit.
        pub fn finish_unit(&self) {
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(units) = self.units.filter(|&units| units > 1) {
                self.bar.set_prefix(format!("{done} of {units} units"));
            }
        }

        /// Clears the bar.
        pub fn finish(&self) {
            self.bar.finish_and_clear();
        }
    }
}

#[cfg(not(feature = "cli"))]
mod absent {
    /// A bar that never is.
    pub enum Bar {}

    impl Bar {
        pub fn new(_waveforms: Option<u64>, _units: Option<u64>) -> Option<Self> {
            None
        }

        pub fn advance(&self, _waveforms: u64, _hits: u64) {
            match *self {}
        }

        pub fn advance_events(&self, _events: u64, _hits: u64) {
            match *self {}
        }

        pub fn finish_unit(&self) {
            match *self {}
        }

        pub fn finish(&self) {
            match *self {}
        }
    }
}
