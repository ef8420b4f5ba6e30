//! The wish that a run ends early: set by a signal, looked at between batches and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// Whether a run is to end early. Clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// A wish that SIGINT and SIGTERM express. The second signal ends the process at once.
    #[must_use]
    pub fn on_signals() -> Self {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Registered first, the shutdown looks before the signal is noted: it acts on the second one. Where signals
            // cannot be caught they end the process, and resuming takes care of the rest.
            let noted = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let _ =
                signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&noted));
            let _ = signal_hook::flag::register(signal, noted);
            let number = usize::try_from(signal).unwrap_or(usize::MAX);
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&stop.0), number);
        }
        stop
    }

    /// Asks the run to end.
    pub fn request(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// True once the run is to end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// What to say of it.
    #[must_use]
    pub fn error(&self) -> Error {
        let number = self.0.load(Ordering::Relaxed);
        let by = i32::try_from(number)
            .ok()
            .and_then(signal_hook::low_level::signal_name)
            .map_or_else(String::new, |name| format!(" by {name}"));
        Error::try_again(format!("stopped{by} before the end"))
    }
}
