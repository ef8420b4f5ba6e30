//! The thread pool of parallel work.
//!
//! The global pool of rayon belongs to the program, which may start it with its own settings. The library never starts it: work
//! runs in the pool that the caller has installed, else in a pool of the library.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Builds a pool of `threads` threads.
///
/// # Errors
/// If the system cannot start them.
pub(crate) fn thread_pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::internal(format!("{threads} threads: {error}")))
}

/// Runs `work` in the current thread pool; outside of any, in the pool of the library, which has one thread per core.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let pool = POOL.get_or_init(|| {
        let builder = ThreadPoolBuilder::new().thread_name(|index| format!("nuwave-{index}"));
        builder.build().ok()
    });
    match pool {
        Some(pool) => pool.install(work),
        // The system has no more threads; rayon reports that.
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_the_pool_of_the_caller_or_of_the_library() {
        let name = || std::thread::current().name().map(str::to_owned);
        let outside = in_pool(name);
        assert!(outside.is_some_and(|name| name.starts_with("nuwave-")));
        let pool = ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "mine".to_owned())
            .build()
            .expect("a thread");
        assert_eq!(pool.install(|| in_pool(name)).as_deref(), Some("mine"));
    }
}
