//! Reconstruction of files that are on the service's disks already: names go over the wire, waveforms do not.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rejection::{Reason, Rejection};
use super::stream::ResponseSender;
use crate::error::{Error, Result};
use crate::extract::Method;
use crate::pipeline::CancelToken;

/// The name of the action.
pub const ACTION: &str = "reconstruct";
/// Time between two words that it is still at work.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// LocalPaths that a client names, all below the root.
#[derive(Debug)]
pub struct LocalPaths {
    /// LocalPaths of waveforms.
    pub inputs: Vec<PathBuf>,
    /// The folder to make.
    pub output: PathBuf,
    /// How charge and time are taken, where the client says.
    pub method: Option<Method>,
    /// The calibration, by its name, where the client says.
    pub calibration: Option<String>,
}

/// Does a pass over files and returns its report; ends early when the body comes.
pub type Pass = dyn Fn(&LocalPaths, &CancelToken) -> Result<serde_json::Value> + Send + Sync;

/// The files below a root.
#[derive(Clone)]
pub struct LocalFiles {
    root: PathBuf,
    pass: Arc<Pass>,
    /// One pass at a time: each takes all cores.
    pass_permit: Arc<Semaphore>,
}

/// A client's body as it is written.
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

/// A pass that may begin.
pub struct PreparedPass {
    files: LocalPaths,
    pass: Arc<Pass>,
    pass_permit: OwnedSemaphorePermit,
}

impl LocalFiles {
    /// The files below `root`.
    ///
    /// # Errors
    /// If it is no folder.
    pub fn new(root: &Path, pass: Arc<Pass>) -> Result<Self> {
        let root = root
            .canonicalize()
            .ok()
            .filter(|root| root.is_dir())
            .ok_or_else(|| Error::usage(format!("`--root {}` is no folder", root.display())))?;
        Ok(Self {
            root,
            pass,
            pass_permit: Arc::new(Semaphore::new(1)),
        })
    }

    /// Looks at a body, and whether its files may be read and written.
    ///
    /// # Errors
    /// If it is not understood, names something that it may not, or another pass is under way.
    pub fn prepare(&self, body: &[u8]) -> std::result::Result<PreparedPass, Rejection> {
        let body: ActionBody = serde_json::from_slice(body).map_err(|error| {
            Rejection::malformed(format!(
                "the action is not understood: {error}; write it as {{\"input\": [\"run.h5\"], \"output\": \"out\"}}"
            ))
        })?;
        let inputs = match body.input {
            OneOrMore::One(input) => vec![input],
            OneOrMore::More(inputs) => inputs,
        };
        if inputs.is_empty() {
            return Err(Rejection::malformed("`input` names no file"));
        }
        let files = LocalPaths {
            inputs: inputs
                .iter()
                .map(|name| self.input(name))
                .collect::<std::result::Result<_, _>>()?,
            output: self.output(&body.output)?,
            method: body.method,
            calibration: body.calibration,
        };
        let pass_permit = Arc::clone(&self.pass_permit)
            .try_acquire_owned()
            .map_err(|_| {
                Rejection::new(
                    Reason::Unavailable,
                    "another pass over files is under way; try again later",
                )
            })?;
        Ok(PreparedPass {
            files,
            pass: Arc::clone(&self.pass),
            pass_permit,
        })
    }

    /// The path of `name` below the root, each folder on the way looked at: no links, nothing above the root.
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
            return forbidden("is no name of a file");
        }
        while let Some(component) = components.next() {
            let Component::Normal(part) = component else {
                return forbidden("only names below the root are taken, without `..`");
            };
            path.push(part);
            let on_the_way = components.peek().is_some();
            match path.symlink_metadata() {
                Ok(it) if it.is_symlink() => return forbidden("links are not followed"),
                Ok(it) if on_the_way && !it.is_dir() => return forbidden("is not below a folder"),
                Err(_) if on_the_way => return forbidden("is not below a folder"),
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
                format!("`{name}` is no regular file"),
            )),
            Err(_) => Err(Rejection::new(
                Reason::Unknown,
                format!("`{name}`: there is no such file below the root"),
            )),
        }
    }

    fn output(&self, name: &str) -> std::result::Result<PathBuf, Rejection> {
        let path = self.below(name)?;
        // Where unfinished work waits.
        self.below(&format!("{name}.partial"))?;
        match path.symlink_metadata() {
            Ok(it) if !it.is_dir() => Err(Rejection::new(
                Reason::Forbidden,
                format!("`{name}` exists and is no folder"),
            )),
            _ => Ok(path),
        }
    }
}

/// Ends the pass when nobody waits for it any more.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PreparedPass {
    /// Does the pass, with a word now and then that it is at work; the last response has the report.
    ///
    /// # Errors
    /// Those of the pass.
    pub async fn run(
        self,
        responses: ResponseSender<Vec<u8>>,
    ) -> std::result::Result<(), Rejection> {
        let Self {
            files,
            pass,
            pass_permit,
        } = self;
        let cancel = CancelOnDrop(CancelToken::default());
        let start = Instant::now();
        let body = cancel.0.clone();
        let mut work = tokio::task::spawn_blocking(move || {
            // SharedPermit until the pass has ended, also where nobody waits for it any more.
            let _permit = pass_permit;
            pass(&files, &body)
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
        let report = result
            .map_err(|_| Rejection::internal("the pass failed; this is a defect of nuwave"))??;
        let state = serde_json::json!({"state": "done", "report": report});
        responses.send(state.to_string().into_bytes()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn only_regular_files_below_the_root_are_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("runs")).expect("a folder");
        std::fs::write(root.join("runs/a.h5"), "x").expect("a file");
        std::fs::write(folder.path().join("secret"), "x").expect("a file");
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link"))
            .expect("a link");
        std::os::unix::fs::symlink(folder.path(), root.join("up")).expect("a link");
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
        let it = LocalFiles::new(&root, Arc::new(|_, _| Ok(serde_json::Value::Null)))
            .expect("it is a folder");
        let begin = |input: &str, output: &str| {
            let body = serde_json::json!({"input": input, "output": output}).to_string();
            it.prepare(body.as_bytes()).map(|prepared| prepared.files)
        };
        let files = begin("runs/a.h5", "out").expect("both are below the root");
        assert_eq!(files.inputs, [it.root.join("runs/a.h5")]);
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
            let rejected = begin(wrong, "out").expect_err(wrong);
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
            let rejected = begin("runs/a.h5", wrong).expect_err(wrong);
            assert_eq!(rejected.reason, Reason::Forbidden, "{wrong}");
        }
        let rejected = begin("runs/b.h5", "out").expect_err("it is not there");
        assert_eq!(rejected.reason, Reason::Unknown);
        drop(socket);
    }
}
