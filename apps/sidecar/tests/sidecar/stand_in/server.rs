//! A server that answers byte for byte what it is told to, at a port that stays the same while it is stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request's head.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Head> {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        let mut head =
            Head { method: words.next()?.to_owned(), path: words.next()?.to_owned(), headers: Vec::new() };
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => return Some(head),
            }
        }
    }
}

/// An answer, byte for byte: nothing keeps it from being wrong.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Instead of the body's own length; `None` in it leaves the header out.
    pub(crate) said_len: Option<Option<usize>>,
    /// Whether the connection ends behind it.
    pub(crate) closes: bool,
    /// Whether bytes go on and on behind it, in chunks.
    pub(crate) endless: bool,
    /// Whether nothing is said at all.
    pub(crate) silent: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    /// Whether the connection may go on.
    async fn write(self, stream: &mut BufReader<TcpStream>, is_head: bool) -> std::io::Result<bool> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        let mut text = format!("HTTP/1.1 {} Said\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.said_len {
            _ if self.endless => text.push_str("Transfer-Encoding: chunked\r\n"),
            Some(None) => {}
            Some(Some(len)) => text.push_str(&format!("Content-Length: {len}\r\n")),
            None => text.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await?;
        if is_head {
            return Ok(!self.closes);
        }
        if self.endless {
            stream.write_all(format!("{:x}\r\n", self.body.len().max(1)).as_bytes()).await?;
            stream.write_all(if self.body.is_empty() { b"x" } else { &self.body }).await?;
            loop {
                stream.write_all(b"\r\n400\r\n").await?;
                stream.write_all(&[b'x'; 1024]).await?;
            }
        }
        stream.write_all(&self.body).await?;
        stream.flush().await?;
        Ok(!self.closes)
    }
}

/// Answers requests.
#[async_trait::async_trait]
pub(crate) trait Answers: Send + Sync + 'static {
    async fn answer(&self, head: &Head) -> Reply;
}

/// A server at a port that stays the same while it is stopped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start(answers: Arc<dyn Answers>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Server { address, task: Some(tokio::spawn(accept(listener, answers))) }
    }

    /// Cuts everything off.
    pub(crate) fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Serves again at the same port.
    pub(crate) async fn restart(&mut self, answers: Arc<dyn Answers>) {
        self.stop();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        for _ in 0..100 {
            if socket.bind(self.address).is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.task = Some(tokio::spawn(accept(socket.listen(1024).unwrap(), answers)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: TcpListener, answers: Arc<dyn Answers>) {
    // Connections end with the server: the set is dropped with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let answers = Arc::clone(&answers);
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(head) = Head::read(&mut stream).await {
                let reply = answers.answer(&head).await;
                if !reply.write(&mut stream, head.method == "HEAD").await.unwrap_or(false) {
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
