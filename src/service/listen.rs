//! Where clients come in: TCP and Unix sockets, plain or encrypted, no more connections than there is connection_slots for.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::state::ServiceState;
use crate::error::{Error, Result};

/// Time for the first bytes of a connection, and for agreeing on encryption.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a idle connection is has_request whether it is still there, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Calls of one connection at a time.
const MAX_STREAMS: u32 = 256;
/// Bytes that a call and a connection may send ahead. They wait in memory beside the budget, and most of a call's have been sent
/// when it hears that it is refused: with 512 KiB reading them took three quarters of a rejection's time. Over a distance a call
/// gets no more than its window a round trip.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Most bytes of a frame. Large ones take fewer reads; two make a window, so that one comes while the other is taken.
const MAX_FRAME: u32 = STREAM_WINDOW / 2;

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl Address {
    /// True if other machines can reach it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::usage("`--listen unix:` names no socket"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse().map(Self::Tcp).map_err(|_| {
            Error::usage(format!("`--listen {text}` is no address")).with_hint(
                "write `127.0.0.1:8815`, `[::1]:8815`, `0.0.0.0:8815`, or `unix:/run/nuwave.sock`",
            )
        })
    }
}

/// A socket that clients can come to.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and where it is.
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    /// If another process has it, or it may not be taken.
    pub async fn bind(address: &Address) -> Result<Self> {
        let bind_error = |error: io::Error| {
            let message = format!("cannot listen at {address}");
            Error::usage(message).with_source(error)
        };
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(bind_error)?;
                Ok(Self::Tcp(listener))
            }
            Address::Unix(path) => bind_unix(path).await.map_err(bind_error),
        }
    }

    /// Where it listens, with the port that the system chose.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> Result<Address> {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map(Address::Tcp)
                .map_err(|error| Error::internal("a socket without address").with_source(error)),
            #[cfg(unix)]
            Self::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Self::Unix(_, path) = self {
            // Whoever comes next removes it else.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(not(unix))]
async fn bind_unix(_: &Path) -> io::Result<Listener> {
    let what = "there are no Unix sockets here";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(unix)]
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    use std::os::unix::fs::PermissionsExt as _;
    remove_abandoned(path).await?;
    let listener = UnixListener::bind(path)?;
    // Its owner's, unless somebody opens it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// Removes a socket that a process left behind.
#[cfg(unix)]
async fn remove_abandoned(path: &Path) -> io::Result<()> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        // A file that is no socket refuses as well, and stays.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path)
        }
        // Nothing is there, or something that binding will complain of.
        Err(_) => Ok(()),
    }
}

#[cfg(unix)]
fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.symlink_metadata()
        .is_ok_and(|it| it.file_type().is_socket())
}

/// What every connection is served with.
pub struct Acceptor {
    /// The doors.
    pub router: Router,
    /// The service behind them.
    pub state: Arc<ServiceState>,
    /// What connections over TCP are encrypted with.
    pub tls: Option<Arc<ServerConfig>>,
    /// Room for connections.
    pub connection_slots: Arc<Semaphore>,
    /// Tells connections that the service ends.
    pub graceful: GracefulShutdown,
}

impl Acceptor {
    /// Takes connections until the task is dropped.
    pub async fn accept(&self, listener: &Listener) {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Small responses do not wait for larger ones.
                    let _ = stream.set_nodelay(true);
                    self.admit(stream, self.tls.as_ref());
                }),
                #[cfg(unix)]
                Listener::Unix(listener, _) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| self.admit(stream, None)),
            };
            if let Err(error) = accepted {
                // Too many open files, most likely: some will be closed.
                warn!("a connection could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn admit<S>(&self, stream: S, tls: Option<&Arc<ServerConfig>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(slot) = Arc::clone(&self.connection_slots).try_acquire_owned() else {
            self.state.metrics.connections_rejected.inc();
            return;
        };
        let connection = Connection {
            router: self.router.clone(),
            state: Arc::clone(&self.state),
            watcher: self.graceful.watcher(),
            _slot: slot,
        };
        let tls = tls.map(|config| TlsAcceptor::from(Arc::clone(config)));
        tokio::spawn(async move {
            match tls {
                None => connection.serve(stream).await,
                Some(tls) => {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection.serve(stream).await,
                        Ok(Err(error)) => debug!("a connection was not encrypted: {error}"),
                        Err(_) => debug!("a connection took too long to be encrypted"),
                    }
                }
            }
        });
    }
}

/// One connection.
struct Connection {
    router: Router,
    state: Arc<ServiceState>,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
}

/// Counts a connection as long as it lives.
struct ConnectionCount(Arc<ServiceState>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

impl Connection {
    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.state.metrics.connections.inc();
        let _count = ConnectionCount(Arc::clone(&self.state));
        let client = self.state.client();
        let has_request = Arc::new(AtomicBool::new(false));
        let request_seen = Arc::clone(&has_request);
        let service = self
            .router
            .map_request(move |request: http::Request<Incoming>| {
                request_seen.store(true, Ordering::Relaxed);
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(client.clone());
                request
            });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let service = TowerToHyperService::new(service);
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        // A slot is for somebody who request_seen for something.
        let idle = async {
            tokio::time::sleep(HANDSHAKE_TIMEOUT).await;
            if has_request.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = self.watcher.watch(connection) => if let Err(error) = result {
                debug!("a connection broke: {error}");
            },
            () = idle => debug!("a connection has_request for nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_public_ones_known() {
        let address = |text: &str| text.parse::<Address>();
        for (text, is_public) in [
            ("127.0.0.1:8815", false),
            ("localhost:0", false),
            ("[::1]:80", false),
            ("0.0.0.0:8815", true),
            ("[::]:8815", true),
            ("10.1.2.3:1", true),
            ("unix:/run/nuwave.sock", false),
            ("unix:///run/nuwave.sock", false),
        ] {
            let found = address(text).expect(text);
            assert_eq!(found.is_public(), is_public, "{text}");
        }
        for invalid in [
            "",
            "8815",
            "host:8815",
            "unix:",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(address(invalid).is_err(), "{invalid}");
        }
    }
}
