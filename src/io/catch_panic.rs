//! Catches panics of decoders on damaged files: the last resort.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use super::system_errors;
use crate::error::{Error, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder. A panic becomes an input error, and an error that the operating system caused is marked as such.
///
/// Everything that nuwave can check is checked before a library decodes it. The decoders of HDF5, Arrow and Parquet
/// nevertheless panic on some damaged files, and a damaged file must not end a run.
pub(crate) fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                previous(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let _ = system_errors::take();
    let result = catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(before);
    let result = result.unwrap_or_else(|_| {
        Err(Error::input(path, "is damaged: it cannot be decoded")
            .with_hint("make the file again, or copy it again from where it came"))
    });
    let system_failed = system_errors::take();
    result.map_err(|error| {
        if system_failed {
            error.with_system_failure()
        } else {
            error
        }
    })
}
