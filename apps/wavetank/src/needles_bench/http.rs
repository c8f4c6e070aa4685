//! What an engine replaces: an HTTP server that answers from the `.dat` with one read of the file, and a client that keeps its
//! connections. The server knows where every needle is, checks nothing, and does nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use wavetank_volume::{Index, OffsetWidth};

use super::measured::{Fetch, Load};
use crate::bench_volume::Known;
use crate::print;

/// Bytes of a record before the length of its data, and before its data.
const LEN_AT: u64 = 16;
const DATA_AT: u64 = 20;
/// Longest head of a response.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A `.dat`, and where each needle is in it.
pub(crate) struct Served {
    dat: File,
    /// Where data begins, and how long it is.
    needles: BTreeMap<u64, (u64, usize)>,
}

impl Served {
    /// Of a `.dat` with its `.idx` beside it.
    pub(crate) fn open(dat: &FilePath) -> Result<Served, Box<dyn Error>> {
        let index =
            Index::read(File::open(dat.with_extension("idx"))?, OffsetWidth::Four, Index::NEEDLES_MAX)?;
        let dat = File::open(dat)?;
        let mut needles = BTreeMap::new();
        for entry in index.live() {
            let mut len = [0; 4];
            dat.read_exact_at(&mut len, entry.offset_bytes + LEN_AT)?;
            needles.insert(entry.id.0, (entry.offset_bytes + DATA_AT, u32::from_be_bytes(len) as usize));
        }
        Ok(Served { dat, needles })
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.needles.keys().copied()
    }

    /// One, by a read of the file.
    pub(crate) fn read(&self, id: u64) -> Result<Vec<u8>, StatusCode> {
        let &(at, len) = self.needles.get(&id).ok_or(StatusCode::NOT_FOUND)?;
        let mut bytes = vec![0; len];
        self.dat.read_exact_at(&mut bytes, at).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(bytes)
    }
}

/// Serves the needles of a `.dat` until this process is ended.
pub(crate) fn serve(dat: &FilePath) -> Result<ExitCode, Box<dyn Error>> {
    let routes = Router::new().route("/needle/{id}", get(needle)).with_state(Arc::new(Served::open(dat)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        print(&listener.local_addr()?.to_string())?;
        let listener = listener.tap_io(|stream| {
            // It is slower then, and still right.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, routes).await.map(|()| ExitCode::SUCCESS)?)
    })
}

async fn needle(State(served): State<Arc<Served>>, Path(id): Path<u64>) -> Response {
    served.read(id).into_response()
}

/// A client of it, with a connection for each read in flight.
pub(super) struct Client {
    idle: VecDeque<Connection>,
    /// Memory that was used before, as an engine's is.
    buffers: Vec<Vec<u8>>,
}

/// One read at a time.
pub(super) struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr, load: &Load<'_>) -> io::Result<Client> {
        let connection = |_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(Connection { stream, head: vec![0; HEAD_BYTES_MAX] })
        };
        Ok(Client { idle: (0..load.window).map(connection).collect::<io::Result<_>>()?, buffers: Vec::new() })
    }
}

impl Fetch for Client {
    type Begun = Connection;
    type Bytes = Vec<u8>;

    fn begin(&mut self, needle: &Known) -> Result<Connection, String> {
        let mut connection = self.idle.pop_front().ok_or("more reads are in flight than connections")?;
        let request = format!("GET /needle/{} HTTP/1.1\r\nhost: bench\r\n\r\n", needle.id);
        connection.stream.write_all(request.as_bytes()).map_err(|why| why.to_string())?;
        Ok(connection)
    }

    fn end(&mut self, mut begun: Connection) -> Result<Vec<u8>, String> {
        let mut body = self.buffers.pop().unwrap_or_default();
        begun.receive(&mut body).map_err(|why| why.to_string())?;
        self.idle.push_back(begun);
        Ok(body)
    }

    fn look<'a>(&self, bytes: &'a Vec<u8>) -> &'a [u8] {
        bytes
    }

    fn give_back(&mut self, bytes: Vec<u8>) {
        self.buffers.push(bytes);
    }
}

impl Connection {
    /// The body of the next response.
    fn receive(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        let mut have = 0;
        let (head_len, body_len) = loop {
            let room = &mut self.head[have..];
            let read = self.stream.read(room)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            have += read;
            if let Some(end) = self.head[..have].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break (end + 4, body_len(&self.head[..end])?);
            }
        };
        let early = &self.head[head_len..have];
        if early.len() > body_len {
            return Err(io::Error::other("more came than was asked for"));
        }
        body.resize(body_len, 0);
        body[..early.len()].copy_from_slice(early);
        self.stream.read_exact(&mut body[early.len()..])
    }
}

/// What a head says of the body.
fn body_len(head: &[u8]) -> io::Result<usize> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("the HTTP server answers {status:?}")));
    }
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let len = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let len = len.and_then(|(_, len)| len.trim().parse().ok());
    len.ok_or_else(|| io::Error::other("the HTTP server does not say how much comes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_much_comes() {
        let len = |head: &str| body_len(head.as_bytes()).ok();
        assert_eq!(len("HTTP/1.1 200 OK\r\nContent-Length: 17"), Some(17));
        assert_eq!(len("HTTP/1.1 200 OK\r\ndate: x"), None);
        assert_eq!(len("HTTP/1.1 404 Not Found\r\ncontent-length: 17"), None);
    }
}
