//! A temporary folder, with what tests do in one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nuwave::model::Calibration;

use super::{names_in, reconstruct, write_calibration};

/// A folder that is gone with the test.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("room on the disk");
        path
    }

    /// A calibration file.
    pub fn calibration(&self, name: &str, calibration: &Calibration) -> String {
        let path = self.path(name);
        write_calibration(&path, calibration);
        path.to_str().expect("a plain path").to_owned()
    }

    /// Asserts that reconstructing `input` is refused, and that nothing is left of the attempt.
    #[track_caller]
    pub fn refuses(&self, input: &Path, more: &[&str], code: i32) {
        let before = names_in(self.0.path());
        let begin = Instant::now();
        reconstruct(&[input], &self.path("out"), more).refused(code);
        assert!(begin.elapsed() < Duration::from_secs(10));
        assert_eq!(names_in(self.0.path()), before);
    }
}
