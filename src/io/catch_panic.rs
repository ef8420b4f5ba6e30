//! The last resort against decoders that panic on damaged files.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use super::system_errors;
use crate::error::{Error, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder and turns a panic into an input error.
///
/// The last resort: everything that nuwave knows how to check is checked before a library decodes it, but
/// the decoders of HDF5, Arrow and Parquet are known to panic on damaged files, and a damaged file must not end a run.
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
            error.of_the_system()
        } else {
            error
        }
    })
}
