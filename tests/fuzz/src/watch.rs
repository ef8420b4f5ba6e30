//! Tells nuwave's own panics from those of libraries, which nuwave catches and turns into errors.
//!
//! The readers run under a guard, because the decoders of HDF5, Arrow and Parquet panic on damaged files. The guard would
//! hide a panic of nuwave's own code as well; here it counts as a finding.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Once;

use nuwave::io::{self, ReadOptions};

thread_local! {
    static OWN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Begins to watch.
pub fn begin() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // The guard hangs in its hook with the first file that it sees, and ours has to come before it: libFuzzer's, the
        // last, ends the process, and the guard's keeps from it what is caught.
        let path = std::env::temp_dir().join(format!("nuwave-fuzz-{}.first", std::process::id()));
        std::fs::write(&path, b"PAR1").expect("room for four bytes");
        assert!(io::open(&path, &ReadOptions::default()).is_err());
        let _ = std::fs::remove_file(&path);
        let guard = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.location().is_some_and(|place| is_own(place.file())) {
                OWN.set(Some(panic.to_string()));
            }
            guard(panic);
        }));
    });
    OWN.set(None);
}

/// True for nuwave's sources: of the package that is being tested, or of the one next to it.
fn is_own(file: &str) -> bool {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    let src = src.canonicalize().unwrap_or(src);
    let file = Path::new(file);
    file.starts_with("src") || file.starts_with(&src) || file.starts_with("../../src")
}

/// Ends the watch.
///
/// # Panics
/// If nuwave's own code panicked since it began.
pub fn end() {
    if let Some(panic) = OWN.take() {
        panic!("nuwave itself panicked: {panic}");
    }
}
