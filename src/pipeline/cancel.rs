//! Cancellation token: set by signals or by the program, checked between batches and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// Asks a pass to end early. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicUsize>);

impl CancelToken {
    /// Returns a token that SIGINT and SIGTERM set. The second signal ends the process at once.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn on_signals() -> Self {
        Self::on(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
    }

    /// As [`on_signals`](Self::on_signals), for SIGHUP as well, which a process gets when its terminal or connection closes. A
    /// process that ignores SIGHUP, as `nohup` makes it, continues to do so.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn on_signals_and_hangup() -> Self {
        let mut signals = vec![signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        #[cfg(unix)]
        if !ignores_hangup() {
            signals.push(signal_hook::consts::SIGHUP);
        }
        Self::on(&signals)
    }

    #[cfg(feature = "cli")]
    fn on(signals: &[i32]) -> Self {
        let token = Self::default();
        for &signal in signals {
            // The shutdown is registered first and so checks the flag before the same signal sets it: it acts on the second
            // signal. Where signals cannot be caught they end the process, and the run can be resumed.
            let received = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let _ =
                signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&received));
            let _ = signal_hook::flag::register(signal, received);
            let number = usize::try_from(signal).unwrap_or(usize::MAX);
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&token.0), number);
        }
        token
    }

    /// Asks the pass to end.
    pub fn cancel(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// Returns true once the pass is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Returns the error of a cancelled pass; it names the signal, if one was the reason.
    #[must_use]
    pub fn error(&self) -> Error {
        let number = self.0.load(Ordering::Relaxed);
        // The signals of `on_signals`, by their numbers in POSIX.
        let by = match number {
            1 => " by SIGHUP",
            2 => " by SIGINT",
            15 => " by SIGTERM",
            _ => "",
        };
        Error::try_again(format!("stopped{by} before the end"))
    }
}

/// Returns true if this process ignores SIGHUP.
#[cfg(all(feature = "cli", unix))]
fn ignores_hangup() -> bool {
    // Linux lists the ignored signals as a mask, whose lowest bit is SIGHUP. Elsewhere a handler would undo `nohup`.
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 == 1)
}
