//! The exchange over a stream of bytes, with one deadline for the whole of it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Bootstrap, BootstrapError, Handshake, Introduction, Offer, Peer, RefusalCode, Role, Step};

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// How long [`Bootstrap::pause`] waits: the shortest that tokio's clock knows.
const PAUSE: Duration = Duration::from_millis(1);

/// A handshake over a stream. The time is counted for the whole of it, ours included: a peer that sends a byte a second
/// gets no further than one that sends nothing.
#[derive(Debug)]
pub struct StreamBootstrap<S> {
    talk: Talk<S>,
    peer: Peer,
}

/// A machine and the stream it speaks over.
#[derive(Debug)]
struct Talk<S> {
    stream: S,
    handshake: Handshake,
    deadline: Instant,
    limit: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> StreamBootstrap<S> {
    /// Introduces both sides to each other. The time runs from here on.
    ///
    /// # Errors
    /// The peer does not fit, does not answer within `limit`, or sends something else.
    pub async fn new(
        stream: S,
        role: Role,
        us: Introduction,
        limit: Duration,
    ) -> Result<StreamBootstrap<S>, BootstrapError> {
        StreamBootstrap::until(stream, role, us, limit, Instant::now() + limit).await
    }

    /// The same, where part of the time was used before.
    pub(super) async fn until(
        stream: S,
        role: Role,
        us: Introduction,
        limit: Duration,
        deadline: Instant,
    ) -> Result<StreamBootstrap<S>, BootstrapError> {
        let handshake = Handshake::new(role, us);
        let mut talk = Talk { stream, handshake, deadline, limit };
        let peer = talk.run(|handshake| handshake.peer().cloned()).await?;
        Ok(StreamBootstrap { talk, peer })
    }

    /// The peer, who has introduced itself.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the dialer offers, for a listener whose own offer depends on it. Before [`Bootstrap::exchange`], which answers
    /// with it once more.
    ///
    /// # Errors
    /// As [`Bootstrap::exchange`]. A dialer would wait in vain: the listener answers offers and makes none.
    pub async fn hear_offer(&mut self) -> Result<Offer, BootstrapError> {
        self.talk.run(|handshake| handshake.heard_offer().cloned()).await
    }

    /// The stream, for whatever both sides have to say after [`Bootstrap::confirm`]. The listener speaks first: what the dialer
    /// sends unasked may still meet the handshake, which takes nothing behind its last message.
    ///
    /// # Errors
    /// [`BootstrapError::NotDue`] before the end of the handshake, and [`BootstrapError::Failed`] when it failed.
    pub fn into_stream(self) -> Result<S, BootstrapError> {
        let handshake = &self.talk.handshake;
        match handshake.is_established() {
            true => Ok(self.talk.stream),
            false if handshake.has_failed() => Err(BootstrapError::Failed),
            false => Err(BootstrapError::NotDue { call: "the stream", step: handshake.step() }),
        }
    }

    /// Waits until the peer closes its end, for as long as it takes: reliable-connected devices do not say when a peer is
    /// gone, and a process that ends closes this stream. For after [`Bootstrap::confirm`].
    ///
    /// # Errors
    /// The peer sent something, or vanished without closing.
    pub async fn closed(mut self) -> Result<(), BootstrapError> {
        let mut bytes = [0; READ_BYTES];
        loop {
            let read = self.talk.stream.read(&mut bytes).await;
            if !self.talk.heard(read, &bytes)? {
                return Ok(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Talk<S> {
    /// Sends and reads until the machine has what is asked for.
    async fn run<T>(
        &mut self,
        mut wanted: impl FnMut(&mut Handshake) -> Option<T>,
    ) -> Result<T, BootstrapError> {
        let deadline = self.deadline;
        loop {
            self.on_time().await?;
            self.send_by(deadline).await?;
            if let Some(found) = wanted(&mut self.handshake) {
                return Ok(found);
            }
            if !self.read_by(deadline).await? {
                return Err(self.late().await);
            }
        }
    }

    async fn on_time(&mut self) -> Result<(), BootstrapError> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(self.late().await) }
    }

    /// The time is up. If the peer has told why already, that is the better reason.
    async fn late(&mut self) -> BootstrapError {
        if !self.handshake.has_failed()
            && let Err(error) = self.read_by(Instant::now()).await
        {
            return error;
        }
        let (step, limit) = (self.handshake.step(), self.limit);
        let error = self.handshake.fail(BootstrapError::Timeout { step, limit });
        self.farewell().await;
        error
    }

    /// Sends all there is. A stream that takes nothing more may still hold the reason: reading finds it.
    async fn send_by(&mut self, deadline: Instant) -> Result<(), BootstrapError> {
        while !self.handshake.to_send().is_empty() {
            match timeout_at(deadline, self.stream.write(self.handshake.to_send())).await {
                Ok(Ok(count)) if count > 0 => self.handshake.sent(count),
                Ok(_) => {
                    self.handshake.sent(usize::MAX);
                    return if self.read_by(deadline).await? { Ok(()) } else { Err(self.late().await) };
                }
                Err(_) => return Err(self.late().await),
            }
        }
        Ok(())
    }

    /// Reads once. `false`: nothing came in time.
    async fn read_by(&mut self, deadline: Instant) -> Result<bool, BootstrapError> {
        let mut bytes = [0; READ_BYTES];
        let Ok(read) = timeout_at(deadline, self.stream.read(&mut bytes)).await else { return Ok(false) };
        match self.heard(read, &bytes) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.farewell().await;
                Err(error)
            }
        }
    }

    /// Tells the machine what a read brought. `false`: the end, where it may be.
    fn heard(&mut self, read: io::Result<usize>, bytes: &[u8]) -> Result<bool, BootstrapError> {
        match read {
            Ok(0) => self.handshake.end().map(|()| false),
            Ok(count) => self.handshake.receive(&bytes[..count]).map(|()| true),
            Err(source) => {
                let step = self.handshake.step();
                Err(self.handshake.fail(match source.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                        BootstrapError::Closed { step, amid: false }
                    }
                    _ => BootstrapError::Io { step, source },
                }))
            }
        }
    }

    /// Sends the reason for the end, if the stream takes it at once: nobody waits for a peer that is refused.
    async fn farewell(&mut self) {
        let _ = timeout(Duration::ZERO, self.stream.write_all(self.handshake.to_send())).await;
        self.handshake.sent(usize::MAX);
        let _ = timeout(Duration::ZERO, self.stream.shutdown()).await;
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bootstrap for StreamBootstrap<S> {
    async fn exchange(&mut self, offer: &Offer) -> Result<Offer, BootstrapError> {
        let talk = &mut self.talk;
        talk.on_time().await?;
        if let Err(error) = talk.handshake.offer(offer) {
            if talk.handshake.has_failed() {
                talk.farewell().await;
            }
            return Err(error);
        }
        talk.run(Handshake::take_offer).await
    }

    async fn pause(&mut self) -> Result<(), BootstrapError> {
        let talk = &mut self.talk;
        talk.on_time().await?;
        let until = Instant::now() + PAUSE;
        // Whatever comes now comes early, and the rest of the pause is not worth the wait.
        talk.read_by(until).await.map(drop)
    }

    async fn confirm(&mut self) -> Result<(), BootstrapError> {
        let talk = &mut self.talk;
        talk.on_time().await?;
        talk.handshake.ready()?;
        talk.run(|handshake| handshake.is_established().then_some(())).await
    }

    async fn refuse(&mut self, code: RefusalCode, text: &str) {
        let talk = &mut self.talk;
        if talk.handshake.step() != Step::Over {
            talk.handshake.refuse(code, text);
            talk.farewell().await;
        }
    }
}
