//! The exchange over TCP: the side that dials.

use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout_at};

use super::{BootstrapError, Introduction, Role, Step, StreamBootstrap};

/// The exchange over TCP. [`TcpBootstrap::dial`] makes one, and [`Listener::accept`](super::Listener::accept) its other end.
pub type TcpBootstrap = StreamBootstrap<TcpStream>;

impl TcpBootstrap {
    /// Reaches a listener and introduces itself. `limit` is for all of the handshake, finding and reaching the peer included.
    ///
    /// # Errors
    /// Nobody listens there, or the peer does not fit or does not answer.
    pub async fn dial(
        address: impl ToSocketAddrs,
        us: Introduction,
        limit: Duration,
    ) -> Result<TcpBootstrap, BootstrapError> {
        let deadline = Instant::now() + limit;
        let step = Step::Dial;
        let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|source| BootstrapError::Io { step, source })?,
            Err(_) => return Err(BootstrapError::Timeout { step, limit }),
        };
        // Messages are small and each waits for the other side's.
        stream.set_nodelay(true).map_err(|source| BootstrapError::Io { step, source })?;
        StreamBootstrap::until(stream, Role::Dialer, us, limit, deadline).await
    }
}
