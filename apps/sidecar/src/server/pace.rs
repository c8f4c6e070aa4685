//! A stream whose reader has to keep up: an answer that nobody takes holds memory of the engine.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that the other side has to take...
const STEP: usize = 64 << 10;

/// A stream that ends when the other side takes fewer than 64 KiB in a given time while there is something to take.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether somebody waits to write, since when the timer runs.
    waiting: bool,
    /// Bytes that were taken since.
    taken: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Paced<S> {
        Paced { stream, patience, timer: Box::pin(sleep(patience)), waiting: false, taken: 0 }
    }

    /// What became of a write, and whether it still goes on in time.
    fn paced(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.taken += bytes;
                if self.taken >= STEP {
                    self.waiting = false;
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Pending => {
                if !self.waiting {
                    (self.waiting, self.taken) = (true, 0);
                    self.timer.as_mut().reset(Instant::now() + self.patience);
                }
                ready!(self.timer.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client does not take its answer")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.paced(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        // All is written: how long the next one takes is another matter.
        self.waiting = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left_and_who_takes_a_little_too() {
        for sip in [0, 100] {
            let (ours, mut theirs) = duplex(1024);
            let mut paced = Paced::new(ours, Duration::from_secs(10));
            let writing = tokio::spawn(async move { paced.write_all(&vec![7; 1 << 20]).await });
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; sip];
                while sip > 0 && theirs.read_exact(&mut buffer).await.is_ok() {
                    advance(Duration::from_secs(1)).await;
                }
                std::future::pending::<()>().await;
                drop(theirs);
            });
            assert_eq!(
                writing.await.unwrap().unwrap_err().kind(),
                ErrorKind::TimedOut,
                "{sip} bytes a second"
            );
            reading.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_up_has_all_the_time() {
        let (ours, mut theirs) = duplex(1024);
        let mut paced = Paced::new(ours, Duration::from_secs(10));
        let writing = tokio::spawn(async move { paced.write_all(&vec![7; 1 << 20]).await });
        let mut left = 1 << 20;
        while left > 0 {
            let mut buffer = vec![0; 32 << 10];
            theirs.read_exact(&mut buffer).await.unwrap();
            left -= buffer.len();
            advance(Duration::from_secs(4)).await;
        }
        writing.await.unwrap().unwrap();
    }
}
