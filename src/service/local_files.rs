//! Reconstruction of files that are local to the service: clients send paths instead of waveforms.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rejection::{Reason, Rejection};
use super::stream::ResponseSender;
use crate::error::{Error, Result};
use crate::extract::Method;
use crate::pipeline::{CancelToken, Pass, PassSettings};

/// The name of the action.
pub const ACTION: &str = "reconstruct";
/// The interval of progress responses.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Access to the files below a data root.
#[derive(Clone)]
pub struct LocalFiles {
    root: PathBuf,
    /// The settings of every pass, except for the method and the calibration that a client sets.
    settings: PassSettings,
    /// The files of the named calibrations; `None` stands for the calibration of the settings.
    calibrations: BTreeMap<String, Option<PathBuf>>,
    /// One pass at a time, because a pass uses all cores.
    pass_permit: Arc<Semaphore>,
}

/// The body of the action, as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionBody {
    input: OneOrMore,
    output: String,
    #[serde(default)]
    method: Option<Method>,
    #[serde(default)]
    calibration: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A pass whose paths were checked.
pub struct PreparedPass {
    pass: Pass,
    pass_permit: OwnedSemaphorePermit,
}

impl LocalFiles {
    /// Allows passes with `settings` over the files below `root`. Clients may choose one of `calibrations` by its name; `None`
    /// is the calibration of the settings.
    ///
    /// # Errors
    /// If `root` is not a folder.
    pub fn new(
        root: &Path,
        settings: PassSettings,
        calibrations: BTreeMap<String, Option<PathBuf>>,
    ) -> Result<Self> {
        let root = root
            .canonicalize()
            .ok()
            .filter(|root| root.is_dir())
            .ok_or_else(|| {
                Error::usage(format!(
                    "the data root `{}` is not a folder",
                    root.display()
                ))
            })?;
        Ok(Self {
            root,
            settings,
            calibrations,
            pass_permit: Arc::new(Semaphore::new(1)),
        })
    }

    /// Parses the body of the action and checks that its paths may be accessed.
    ///
    /// # Errors
    /// If the body is malformed, a path may not be accessed, or another pass is running.
    pub fn prepare(&self, body: &[u8]) -> std::result::Result<PreparedPass, Rejection> {
        let body: ActionBody = serde_json::from_slice(body).map_err(|error| {
            Rejection::malformed(format!(
                "malformed action: {error}; expected {{\"input\": [\"run.h5\"], \"output\": \"out\"}}"
            ))
        })?;
        let inputs = match body.input {
            OneOrMore::One(input) => vec![input],
            OneOrMore::More(inputs) => inputs,
        };
        if inputs.is_empty() {
            return Err(Rejection::malformed("`input` is empty"));
        }
        let inputs: Vec<PathBuf> = inputs
            .iter()
            .map(|name| self.input(name))
            .collect::<std::result::Result<_, _>>()?;
        let output = self.output(&body.output)?;
        let mut settings = self.settings.clone();
        if let Some(method) = body.method {
            settings.parameters.method = method;
        }
        if let Some(name) = &body.calibration {
            let file = self.calibrations.get(name).ok_or_else(|| {
                Rejection::new(Reason::Unknown, format!("unknown calibration `{name}`"))
            })?;
            settings.calibration = file.clone().or(settings.calibration);
        }
        let pass_permit = Arc::clone(&self.pass_permit)
            .try_acquire_owned()
            .map_err(|_| {
                Rejection::new(
                    Reason::Unavailable,
                    "another pass over local files is running; try again later",
                )
            })?;
        Ok(PreparedPass {
            pass: Pass::new(settings, inputs, output).resume(true),
            pass_permit,
        })
    }

    /// Resolves `name` below the root. Rejects links and paths that leave the root.
    fn below(&self, name: &str) -> std::result::Result<PathBuf, Rejection> {
        let forbidden = |what: &str| {
            Err(Rejection::new(
                Reason::Forbidden,
                format!("`{name}`: {what}"),
            ))
        };
        let mut path = self.root.clone();
        let mut components = Path::new(name).components().peekable();
        if components.peek().is_none() || name.contains('\0') {
            return forbidden("is not a file name");
        }
        while let Some(component) = components.next() {
            let Component::Normal(part) = component else {
                return forbidden("only paths below the data root are allowed, without `..`");
            };
            path.push(part);
            let is_parent = components.peek().is_some();
            match path.symlink_metadata() {
                Ok(it) if it.is_symlink() => return forbidden("links are not followed"),
                Ok(it) if is_parent && !it.is_dir() => {
                    return forbidden("has a parent that is not a folder");
                }
                Err(_) if is_parent => return forbidden("has a parent that is not a folder"),
                _ => {}
            }
        }
        Ok(path)
    }

    fn input(&self, name: &str) -> std::result::Result<PathBuf, Rejection> {
        let path = self.below(name)?;
        match path.symlink_metadata() {
            Ok(it) if it.is_file() => Ok(path),
            Ok(_) => Err(Rejection::new(
                Reason::Forbidden,
                format!("`{name}` is not a regular file"),
            )),
            Err(_) => Err(Rejection::new(
                Reason::Unknown,
                format!("`{name}`: no such file below the data root"),
            )),
        }
    }

    fn output(&self, name: &str) -> std::result::Result<PathBuf, Rejection> {
        let path = self.below(name)?;
        // The staging folder of an unfinished pass.
        self.below(&format!("{name}.partial"))?;
        match path.symlink_metadata() {
            Ok(it) if !it.is_dir() => Err(Rejection::new(
                Reason::Forbidden,
                format!("`{name}` exists and is not a folder"),
            )),
            _ => Ok(path),
        }
    }
}

/// Cancels the pass when its request is dropped.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PreparedPass {
    /// Runs the pass with regular progress responses. The last response contains the report.
    ///
    /// # Errors
    /// The error of the pass.
    pub async fn run(
        self,
        responses: ResponseSender<Vec<u8>>,
    ) -> std::result::Result<(), Rejection> {
        let Self { pass, pass_permit } = self;
        let guard = CancelOnDrop(CancelToken::default());
        let start = Instant::now();
        let pass = pass.cancel_token(&guard.0);
        let mut work = tokio::task::spawn_blocking(move || {
            // Held until the pass has ended, even if the request was dropped.
            let _permit = pass_permit;
            pass.run().map(|outcome| outcome.report)
        });
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    let seconds = start.elapsed().as_secs();
                    let state = serde_json::json!({"state": "running", "seconds": seconds});
                    responses.send(state.to_string().into_bytes()).await?;
                }
            }
        };
        let report = result.map_err(|_| Rejection::internal("the pass panicked"))??;
        let state = serde_json::json!({"state": "done", "report": report});
        responses.send(state.to_string().into_bytes()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn only_regular_files_below_the_root_are_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("runs")).expect("a folder");
        std::fs::write(root.join("runs/a.h5"), "x").expect("a file");
        std::fs::write(folder.path().join("secret"), "x").expect("a file");
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link"))
            .expect("a link");
        std::os::unix::fs::symlink(folder.path(), root.join("up")).expect("a link");
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
        let local_files = LocalFiles::new(&root, PassSettings::default(), BTreeMap::new())
            .expect("it is a folder");
        let prepare = |input: &str, output: &str| {
            let body = serde_json::json!({"input": input, "output": output}).to_string();
            local_files
                .prepare(body.as_bytes())
                .map(|prepared| prepared.pass.inputs().to_vec())
        };
        let inputs = prepare("runs/a.h5", "out").expect("both are below the root");
        assert_eq!(inputs, [local_files.root.join("runs/a.h5")]);
        let absolute = folder.path().join("secret");
        for wrong in [
            "../secret",
            "runs/../../secret",
            "runs/..",
            absolute.to_str().expect("text"),
            "link",
            "up/secret",
            "socket",
            "runs",
            "",
            ".",
            "/",
            "runs/a.h5/b",
            "a\0b",
        ] {
            let rejected = prepare(wrong, "out").expect_err(wrong);
            assert_eq!(rejected.reason, Reason::Forbidden, "{wrong}");
        }
        std::os::unix::fs::symlink(folder.path(), root.join("late.partial")).expect("a link");
        for wrong in [
            "late",
            "../out",
            "link",
            "up/out",
            "runs/a.h5",
            "/tmp/out",
            "nowhere/out",
        ] {
            let rejected = prepare("runs/a.h5", wrong).expect_err(wrong);
            assert_eq!(rejected.reason, Reason::Forbidden, "{wrong}");
        }
        let rejected = prepare("runs/b.h5", "out").expect_err("it is not there");
        assert_eq!(rejected.reason, Reason::Unknown);
        drop(socket);
    }
}
