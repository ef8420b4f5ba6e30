//! Listeners on TCP and Unix sockets, plain or encrypted, with a limit on the number of connections.

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

/// The time that a connection has for the TLS handshake and for its first request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval and the timeout of HTTP/2 keep-alive pings.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The maximum number of concurrent requests per connection.
const MAX_STREAMS: u32 = 256;
/// The flow control windows of a request and a connection, in bytes. Their memory is not part of the budget. A client has usually
/// sent a whole window before it receives a rejection: with 512 KiB, reading it took three quarters of the time of a rejection.
/// Over long distances the throughput of a request is limited to one window per round trip.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// The maximum size of a frame in bytes. Large frames need fewer reads; a window holds two, so that one can be sent while the
/// other is processed.
const MAX_FRAME: u32 = STREAM_WINDOW / 2;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl Address {
    /// Returns true if other machines can reach the address.
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
                return Err(Error::usage("the address `unix:` has no path"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse().map(Self::Tcp).map_err(|_| {
            Error::usage(format!("`{text}` is not a valid address to listen on")).with_hint(
                "write `127.0.0.1:8815`, `[::1]:8815`, `0.0.0.0:8815`, or `unix:/run/nuwave.sock`",
            )
        })
    }
}

/// A listening socket.
pub enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket and its path.
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// If another process uses the address, or permission is denied.
    pub async fn bind(address: &Address) -> Result<Self> {
        let bind_error = |error: io::Error| {
            let message = format!("cannot listen on {address}");
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

    /// Returns the address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// If the system does not return it.
    pub fn address(&self) -> Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp).map_err(|error| {
                Error::internal("cannot determine the address of a socket").with_source(error)
            }),
            #[cfg(unix)]
            Self::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Self::Unix(_, path) = self {
            // If this fails, the next process that binds the path removes the socket.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(not(unix))]
async fn bind_unix(_: &Path) -> io::Result<Listener> {
    let what = "Unix sockets are not supported on this platform";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(unix)]
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    use std::os::unix::fs::PermissionsExt as _;
    remove_abandoned(path).await?;
    let listener = UnixListener::bind(path)?;
    // Only the owner may connect, until somebody changes the mode.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// Removes a stale socket of a process that has ended.
#[cfg(unix)]
async fn remove_abandoned(path: &Path) -> io::Result<()> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on this socket",
        )),
        // Connecting to a regular file is refused as well; it is not removed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path)
        }
        // The path does not exist, or binding reports the error.
        Err(_) => Ok(()),
    }
}

#[cfg(unix)]
fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.symlink_metadata()
        .is_ok_and(|it| it.file_type().is_socket())
}

/// Accepts connections and serves them.
pub struct Acceptor {
    /// The router of all protocols.
    pub router: Router,
    /// The state that all requests share.
    pub state: Arc<ServiceState>,
    /// The TLS configuration of TCP connections; unencrypted if absent.
    pub tls: Option<Arc<ServerConfig>>,
    /// The slots for connections.
    pub connection_slots: Arc<Semaphore>,
    /// Notifies connections of the shutdown.
    pub graceful: GracefulShutdown,
}

impl Acceptor {
    /// Accepts connections until the task is dropped.
    pub async fn accept(&self, listener: &Listener) {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Small responses are sent without delay.
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
                // Most likely there are too many open files; retry until some are closed.
                warn!("cannot accept a connection: {error}");
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
                        Ok(Err(error)) => {
                            debug!("the TLS handshake of a connection failed: {error}");
                        }
                        Err(_) => debug!("the TLS handshake of a connection timed out"),
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

/// Counts an open connection until it is dropped.
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
        // Connections without any request are closed, because they occupy a slot.
        let idle = async {
            tokio::time::sleep(HANDSHAKE_TIMEOUT).await;
            if has_request.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = self.watcher.watch(connection) => if let Err(error) = result {
                debug!("a connection failed: {error}");
            },
            () = idle => debug!("a connection was closed because it sent no request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_public_ones_recognized() {
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
