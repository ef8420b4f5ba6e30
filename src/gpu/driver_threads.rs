//! Counts the threads that may be executing driver code, and waits for them before the process ends.
//!
//! The libraries of a driver run their destructors when the process exits. A thread that is inside the driver at that moment
//! crashes the process although its results are complete. NVIDIA's driver needs a tenth of a second to release a device, software
//! drivers almost none, which hides the problem there. A thread that nobody joins holds a `DriverCallGuard`, and `main` waits
//! until all guards are dropped.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Time for a thread to end after it dropped its guard: drivers free per-thread data when a thread ends.
const THREAD_EXIT_TIME: Duration = Duration::from_millis(5);

static CALLS: CallCounter = CallCounter {
    number: Mutex::new(0),
    changed: Condvar::new(),
};

/// While it exists, its thread may be executing driver code.
pub(super) struct DriverCallGuard(&'static CallCounter);

impl DriverCallGuard {
    /// Returns a guard. Call this before the thread is spawned, and drop the guard after everything else that the thread owns.
    pub fn enter() -> Self {
        CALLS.enter()
    }
}

impl Drop for DriverCallGuard {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Waits until no thread executes driver code, for `limit` at most; returns false if some still do. Call this before the program
/// ends, after all [`GpuExtractor`](super::GpuExtractor)s are dropped; if it returns false, end the process without exit
/// handlers (`_exit`).
#[must_use]
pub fn wait_for_driver_threads(limit: Duration) -> bool {
    CALLS.wait_for_zero(limit)
}

struct CallCounter {
    number: Mutex<i64>,
    changed: Condvar,
}

impl CallCounter {
    fn enter(&'static self) -> DriverCallGuard {
        self.add(1);
        DriverCallGuard(self)
    }

    fn add(&self, number: i64) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += number;
        self.changed.notify_all();
    }

    fn wait_for_zero(&self, limit: Duration) -> bool {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        if *number == 0 {
            return true;
        }
        let (number, _) = self
            .changed
            .wait_timeout_while(number, limit, |number| *number > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let none = *number == 0;
        drop(number);
        std::thread::sleep(THREAD_EXIT_TIME);
        none
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn waits_for_all_threads_up_to_the_limit() {
        static COUNT: CallCounter = CallCounter {
            number: Mutex::new(0),
            changed: Condvar::new(),
        };
        assert!(COUNT.wait_for_zero(Duration::ZERO));
        let (stop, stopped) = channel::<()>();
        for _ in 0..2 {
            let guard = COUNT.enter();
            std::thread::spawn(move || {
                std::thread::sleep(10 * THREAD_EXIT_TIME);
                drop(guard);
            });
        }
        assert!(COUNT.wait_for_zero(Duration::from_secs(60)));
        let guard = COUNT.enter();
        let stuck = std::thread::spawn(move || {
            let _guard = guard;
            let _ = stopped.recv();
            panic!("on its way out");
        });
        assert!(!COUNT.wait_for_zero(THREAD_EXIT_TIME));
        drop(stop);
        assert!(COUNT.wait_for_zero(Duration::from_secs(60)));
        assert!(stuck.join().is_err());
    }
}
