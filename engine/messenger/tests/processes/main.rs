//! Messengers in processes of their own: killed, stopped, restarted. Over UCX, or over the devices of libibverbs that
//! `WAVETANK_DEVICES` names, one for the client and one for the server.
//!
//! The server is this program again, as its ignored test `role_server`.
#![allow(clippy::unwrap_used)]

mod client;
mod killed;
mod server;
mod stopped;
mod talking;

use wavetank_engine::BackendKind;

/// A device for each side.
#[derive(Clone, Debug)]
pub(crate) struct Devices {
    backend: BackendKind,
    client: String,
    server: String,
}

/// Those that two processes of one machine can use.
fn devices() -> Vec<Devices> {
    let pair = |backend, client: &str, server: &str| Devices {
        backend,
        client: client.to_owned(),
        server: server.to_owned(),
    };
    match std::env::var("WAVETANK_DEVICES") {
        Ok(named) => {
            let (client, server) = named.split_once(',').expect("two devices, as in rxe0,rxe1");
            vec![pair(BackendKind::Verbs, client, server)]
        }
        Err(_) => ["tcp/lo", "shm"].map(|device| pair(BackendKind::Ucx, device, device)).to_vec(),
    }
}
