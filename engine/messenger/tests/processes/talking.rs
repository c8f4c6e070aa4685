//! While nobody dies.

use wavetank_messenger::{Data, LocalMessenger, Message, Policy};

use crate::client::beside;
use crate::devices;
use crate::server::{ECHO, LEFT};

const S: u64 = 1_000_000_000;

/// Asks for an echo of `len` bytes, and checks it.
pub(crate) async fn echo(
    messenger: &LocalMessenger,
    to: wavetank_messenger::ConnectionId,
    len: usize,
    within_ns: u64,
) -> Result<(), wavetank_messenger::RequestError> {
    let bytes: Vec<u8> = (0..len).map(|at| (at * 13 + at / 253) as u8).collect();
    let mut message = Message::new(ECHO, b"front", messenger.now() + within_ns);
    let mut sink = None;
    if len > 0 {
        let lease = messenger.expose(to, len as u64).unwrap().unwrap();
        lease.write(0, &bytes);
        message = message.with(Data::all(lease));
        sink = messenger.expose(to, len as u64).unwrap();
    }
    let reply = messenger.request(to, message, sink).unwrap().await.map_err(|no| no.why)?;
    let mut front = [0; 1024];
    let mut came = vec![0; len];
    assert!(reply.read(0, &mut came) && came == bytes && reply.front(&mut front) == b"front", "{len}");
    Ok(())
}

#[test]
fn every_length_goes_there_and_back_unchanged() {
    for device in devices() {
        beside(&device, Policy::LossyClient, Policy::StatelessServer, async |messenger, to, _, _server| {
            for len in [0, 1, 600, 5000, 8100, 70_000, 3 << 20] {
                for _ in 0..20 {
                    echo(&messenger, to, len, 10 * S).await.unwrap();
                }
            }
            let left = messenger.request(to, Message::new(LEFT, b"", messenger.now() + S), None).unwrap();
            let reply = left.await.unwrap();
            let mut front = [0; 1024];
            // One connection, perhaps the last reply not acknowledged yet, no memory out.
            let text = String::from_utf8(reply.front(&mut front).to_vec()).unwrap();
            assert!(text == "1 0 0" || text == "1 1 1", "{device:?}: {text}");
            messenger.close(to, "done");
        });
    }
}
