//! Memory budgets of all clients together and of each client. A reservation that does not fit is rejected immediately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rejection::{Limit, Reason, Rejection};

/// An amount of memory that can be reserved.
#[derive(Debug)]
pub struct Budget {
    capacity: u64,
    used: AtomicU64,
}

impl Budget {
    /// Creates a budget of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            used: AtomicU64::new(0),
        }
    }

    /// Returns the number of reserved bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes in total.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    fn try_acquire(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.capacity);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budget of one client within the budget of all.
#[derive(Clone, Debug)]
pub struct Ledger {
    all: Arc<Budget>,
    own: Arc<Budget>,
}

impl Ledger {
    /// Creates the ledger of a client that may reserve at most `capacity` bytes of `all`.
    #[must_use]
    pub fn new(all: &Arc<Budget>, capacity: u64) -> Self {
        Self {
            all: Arc::clone(all),
            own: Arc::new(Budget::new(capacity)),
        }
    }

    /// Reserves `bytes` until the permit is dropped.
    ///
    /// # Errors
    /// If the budget of the client or the budget of all clients is exceeded.
    pub fn try_acquire(&self, bytes: u64) -> Result<BudgetPermit, Rejection> {
        let mut permit = BudgetPermit {
            ledger: self.clone(),
            bytes: 0,
        };
        permit.grow(bytes)?;
        Ok(permit)
    }
}

/// A budget permit shared by a request and its jobs; the memory is released when the last of them is dropped.
pub type SharedPermit = Arc<dyn Send + Sync>;

/// Reserved memory, released on drop.
#[derive(Debug)]
pub struct BudgetPermit {
    ledger: Ledger,
    bytes: u64,
}

impl BudgetPermit {
    /// Reserves `more` bytes in addition.
    ///
    /// # Errors
    /// As [`Ledger::try_acquire`]; the memory reserved before is kept.
    pub fn grow(&mut self, more: u64) -> Result<(), Rejection> {
        let Ledger { all, own } = &self.ledger;
        if !own.try_acquire(more) {
            return Err(Rejection::new(
                Reason::ClientMemory,
                format!(
                    "this client has reserved {} of its {} bytes, {more} more exceed the limit; wait for responses, then try again",
                    own.used(),
                    own.capacity()
                ),
            )
            .with_limit(Limit::client_memory(own.capacity())));
        }
        if !all.try_acquire(more) {
            own.release(more);
            return Err(Rejection::new(
                Reason::Memory,
                format!(
                    "all clients have reserved {} of {} bytes, {more} more exceed the limit; try again later",
                    all.used(),
                    all.capacity()
                ),
            )
            .with_limit(Limit::memory(all.capacity())));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for BudgetPermit {
    fn drop(&mut self) {
        self.ledger.own.release(self.bytes);
        self.ledger.all.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_memory_is_released_and_never_exceeds_the_budget() {
        let all = Arc::new(Budget::new(100));
        let (one, two) = (Ledger::new(&all, 80), Ledger::new(&all, 80));
        let mut first = one.try_acquire(50).expect("there are 100");
        let rejected = one.try_acquire(31).expect_err("one client may have 80");
        assert_eq!(rejected.reason, Reason::ClientMemory);
        let rejected = two.try_acquire(51).expect_err("100 in all");
        assert_eq!(rejected.reason, Reason::Memory);
        assert_eq!(all.used(), 50, "a rejection takes nothing");
        first.grow(30).expect("80 are its own");
        let second = two.try_acquire(20).expect("the rest");
        assert_eq!(all.used(), 100);
        assert!(two.try_acquire(u64::MAX).is_err(), "no sum overflows");
        drop(first);
        drop(second);
        assert_eq!(all.used(), 0);
        assert!(one.try_acquire(80).is_ok());
    }
}
