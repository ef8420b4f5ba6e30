//! How much memory clients may take, all together and each: what does not fit is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::{Reason, Refusal};

/// Bytes that are there to be taken.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self {
            most,
            taken: AtomicU64::new(0),
        }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes in all.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|&sum| sum <= self.most);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budget of all clients, and that of one.
#[derive(Clone, Debug)]
pub struct Ledger {
    all: Arc<Budget>,
    own: Arc<Budget>,
}

impl Ledger {
    /// The ledger of a client that may have `most` of the bytes of `all`.
    #[must_use]
    pub fn new(all: &Arc<Budget>, most: u64) -> Self {
        Self {
            all: Arc::clone(all),
            own: Arc::new(Budget::new(most)),
        }
    }

    /// Takes `bytes`, given back when the permit is dropped.
    ///
    /// # Errors
    /// If so much is not left, for this client or for all.
    pub fn take(&self, bytes: u64) -> Result<Permit, Refusal> {
        let mut permit = Permit {
            ledger: self.clone(),
            bytes: 0,
        };
        permit.grow(bytes)?;
        Ok(permit)
    }
}

/// Bytes that were taken; they are given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    ledger: Ledger,
    bytes: u64,
}

impl Permit {
    /// Takes `more` bytes.
    ///
    /// # Errors
    /// As [`Ledger::take`]; what was taken before is kept.
    pub fn grow(&mut self, more: u64) -> Result<(), Refusal> {
        let Ledger { all, own } = &self.ledger;
        if !own.take(more) {
            return Err(Refusal::new(
                Reason::ClientMemory,
                format!(
                    "this client has {} of its {} bytes in work, {more} more do not fit (`--client-mib`); wait for answers, then try again",
                    own.taken(),
                    own.most()
                ),
            ));
        }
        if !all.take(more) {
            own.give_back(more);
            return Err(Refusal::new(
                Reason::Memory,
                format!(
                    "the service has {} of its {} bytes in work, {more} more do not fit (`--memory-mib`); try again later",
                    all.taken(),
                    all.most()
                ),
            ));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.ledger.own.give_back(self.bytes);
        self.ledger.all.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_more_than_there_is() {
        let all = Arc::new(Budget::new(100));
        let (one, two) = (Ledger::new(&all, 80), Ledger::new(&all, 80));
        let mut first = one.take(50).expect("there are 100");
        let refused = one.take(31).expect_err("one client may have 80");
        assert_eq!(refused.reason, Reason::ClientMemory);
        let refused = two.take(51).expect_err("100 in all");
        assert_eq!(refused.reason, Reason::Memory);
        assert_eq!(all.taken(), 50, "a refusal takes nothing");
        first.grow(30).expect("80 are its own");
        let second = two.take(20).expect("the rest");
        assert_eq!(all.taken(), 100);
        assert!(two.take(u64::MAX).is_err(), "no sum overflows");
        drop(first);
        drop(second);
        assert_eq!(all.taken(), 0);
        assert!(one.take(80).is_ok());
    }
}
