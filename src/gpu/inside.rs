//! Who may be inside a driver, and the end of the process.
//!
//! A driver's libraries take themselves apart when a process ends. A thread that is inside one meanwhile crashes the process
//! with a result that is whole. NVIDIA's driver takes a tenth of a second to let go of a device, software next to nothing,
//! which hides it there. Where nobody waits for such a thread, it holds an `Inside`, and `main` waits for all of them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Time that a thread has to end once it is out: drivers clear up behind a thread too.
const PAUSE: Duration = Duration::from_millis(5);

static ALL: Count = Count {
    number: Mutex::new(0),
    changed: Condvar::new(),
};

/// As long as it is there, its thread may be inside a driver.
pub(super) struct Inside(&'static Count);

impl Inside {
    /// To be called before the thread is started, and dropped behind everything else that the thread holds.
    pub fn enter() -> Self {
        ALL.enter()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Waits until nobody is inside a driver any more, but no longer than `limit`; false if somebody still is. A program should ask
/// before it ends, all [`GpuExtractor`](super::GpuExtractor)s dropped; where the answer is no, it should end without exit
/// handlers (`_exit`).
#[must_use]
pub fn all_out_within(limit: Duration) -> bool {
    ALL.none_within(limit)
}

struct Count {
    number: Mutex<i64>,
    changed: Condvar,
}

impl Count {
    fn enter(&'static self) -> Inside {
        self.add(1);
        Inside(self)
    }

    fn add(&self, number: i64) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += number;
        self.changed.notify_all();
    }

    fn none_within(&self, limit: Duration) -> bool {
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
        std::thread::sleep(PAUSE);
        none
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn whoever_is_inside_is_waited_for_but_not_forever() {
        static COUNT: Count = Count {
            number: Mutex::new(0),
            changed: Condvar::new(),
        };
        assert!(COUNT.none_within(Duration::ZERO));
        let (stop, stopped) = channel::<()>();
        for _ in 0..2 {
            let inside = COUNT.enter();
            std::thread::spawn(move || {
                std::thread::sleep(10 * PAUSE);
                drop(inside);
            });
        }
        assert!(COUNT.none_within(Duration::from_secs(60)));
        let inside = COUNT.enter();
        let stuck = std::thread::spawn(move || {
            let _inside = inside;
            let _ = stopped.recv();
            panic!("on its way out");
        });
        assert!(!COUNT.none_within(PAUSE));
        drop(stop);
        assert!(COUNT.none_within(Duration::from_secs(60)));
        assert!(stuck.join().is_err());
    }
}
