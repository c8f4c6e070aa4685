//! Four ways in which a local program may speak to an engine.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use wavetank_client::{Client, Code, Lent, Options, ReadError, ReadPath, Wanted, blocking, seaweed};
use wavetank_ipc::seaweed::{CompleteRead, Message, StartRead};
use wavetank_volume::crc32c_raw;

/// What a read brought.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    /// Bytes, and by which way, where that is told.
    Bytes(Vec<u8>, Option<ReadPath>),
    /// The engine says why there are none.
    No(Code),
    /// There is no answer.
    Lost(String),
}

/// A client of any kind.
pub(crate) enum Voice {
    /// For threads, over the socket.
    Socket(blocking::Client),
    /// For threads, through a ring.
    Ring(blocking::Client),
    /// For tokio, through a ring.
    Tokio(Runtime, Client),
    /// As SeaweedFS's.
    Upstream(seaweed::Client),
}

pub(crate) const VOICES: [&str; 4] = ["socket", "ring", "tokio", "upstream"];

impl Voice {
    /// Connects.
    pub(crate) fn connect(name: &str, path: &Path, options: &Options) -> Result<Voice, String> {
        let ringing = Options { ring: Some(64), ..options.clone() };
        let text = |error: &dyn std::error::Error| error.to_string();
        match name {
            "socket" => blocking::Client::connect(path, options).map(Voice::Socket).map_err(|e| text(&e)),
            "ring" => {
                let client = blocking::Client::connect(path, &ringing).map_err(|e| text(&e))?;
                assert!(client.has_ring());
                Ok(Voice::Ring(client))
            }
            "tokio" => {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let client = runtime.block_on(Client::connect(path, &ringing)).map_err(|e| text(&e))?;
                assert!(client.has_ring());
                Ok(Voice::Tokio(runtime, client))
            }
            "upstream" => seaweed::Client::connect(path).map(Voice::Upstream).map_err(|e| text(&e)),
            other => panic!("nobody speaks {other}"),
        }
    }

    /// Whether the engine says that its device is simulated, at the door and when it is asked.
    pub(crate) fn is_simulated(&mut self) -> [bool; 2] {
        match self {
            Voice::Socket(client) | Voice::Ring(client) => {
                [client.welcome().simulated, client.capabilities().unwrap().simulated]
            }
            Voice::Tokio(runtime, client) => {
                [client.welcome().simulated, runtime.block_on(client.capabilities()).unwrap().simulated]
            }
            Voice::Upstream(client) => match client.capabilities().unwrap() {
                Message::GetCapabilitiesResponse(told) => [told.simulated, !told.real_rdma],
                other => panic!("{other:?}"),
            },
        }
    }

    /// Reads, and looks at what is said of the bytes.
    pub(crate) fn read(&mut self, wanted: &Wanted) -> Got {
        match self {
            Voice::Socket(client) | Voice::Ring(client) => got(client.read(wanted)),
            Voice::Tokio(runtime, client) => got(runtime.block_on(client.read(wanted.clone()))),
            Voice::Upstream(client) => as_upstream(client, wanted),
        }
    }

    /// Reads several at once, where this voice can.
    pub(crate) fn read_all(&mut self, all: &[Wanted]) -> Vec<Got> {
        match self {
            Voice::Socket(client) | Voice::Ring(client) => {
                let tickets: Vec<_> = all.iter().map(|wanted| client.start(wanted)).collect();
                let finish = |ticket: Result<_, _>| got(ticket.and_then(|ticket| client.finish(ticket)));
                tickets.into_iter().map(finish).collect()
            }
            Voice::Tokio(runtime, client) => runtime.block_on(async {
                let begin = |wanted: &Wanted| {
                    let (client, wanted) = (client.clone(), wanted.clone());
                    tokio::spawn(async move { got(client.read(wanted).await) })
                };
                let tasks: Vec<_> = all.iter().map(begin).collect();
                let mut results = Vec::new();
                for task in tasks {
                    results.push(task.await.unwrap());
                }
                results
            }),
            Voice::Upstream(client) => all.iter().map(|wanted| as_upstream(client, wanted)).collect(),
        }
    }

    /// Reads, and how many nanoseconds that took.
    pub(crate) fn timed(&mut self, wanted: &Wanted) -> (Got, u64) {
        let from = Instant::now();
        let got = self.read(wanted);
        (got, from.elapsed().as_nanos() as u64)
    }
}

fn got(read: Result<Lent, ReadError>) -> Got {
    match read {
        Ok(lent) => {
            let (bytes, found) = (lent.as_ref().to_vec(), lent.found());
            if found.len != bytes.len() as u64 || found.crc32c != crc32c_raw(&bytes) {
                return Got::Lost(format!("what is lent is not what is told of it: {found:?}"));
            }
            Got::Bytes(bytes, Some(found.path))
        }
        Err(ReadError::Refused(refusal)) => Got::No(refusal.code),
        Err(other) => Got::Lost(other.to_string()),
    }
}

fn as_upstream(client: &mut seaweed::Client, wanted: &Wanted) -> Got {
    let start = StartRead {
        volume_id: wanted.volume,
        needle_id: wanted.needle,
        cookie: wanted.cookie,
        offset: wanted.offset,
        size: wanted.len,
        timeout_secs: wanted.timeout_ns / 1_000_000_000,
        ..StartRead::default()
    };
    let lent = match client.start_read(start) {
        Ok(Message::StartReadResponse(lent)) => lent,
        Ok(Message::Error(error)) => {
            let code = Code::ALL.iter().find(|code| code.name() == error.code);
            return code.map_or_else(|| Got::Lost(error.code.clone()), |code| Got::No(*code));
        }
        other => return Got::Lost(format!("{other:?}")),
    };
    let mut bytes = vec![0; lent.shm_length as usize];
    let read = File::open(&lent.shm_path).and_then(|arena| arena.read_exact_at(&mut bytes, lent.shm_offset));
    let sum = crc32c_raw(&bytes);
    let done = CompleteRead {
        session_id: lent.session_id.clone(),
        success: true,
        bytes_transferred: lent.transfer_size,
        client_crc: Some(sum),
        error_message: None,
    };
    let completed = match client.complete_read(done) {
        Ok(Message::CompleteReadResponse(done)) => done.success && done.server_crc == Some(sum),
        other => return Got::Lost(format!("{other:?}")),
    };
    match read {
        Ok(()) if completed && sum == lent.expected_crc => Got::Bytes(bytes, None),
        other => Got::Lost(format!("{other:?}, completed {completed}: {lent:?}")),
    }
}
