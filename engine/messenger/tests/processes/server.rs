//! A server in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use wavetank_contract::Instant;
use wavetank_messenger::{Data, Dispatcher, Incoming, LocalMessenger, Message, Policy};

use crate::Devices;
use crate::client::{clock, local, open};

/// Answers with what came.
pub(crate) const ECHO: u16 = 1;
/// Keeps the request, and says nothing.
pub(crate) const KEEP: u16 = 2;
/// Answers with what is out and not back.
pub(crate) const LEFT: u16 = 3;

/// A server process. It is killed with its test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(devices: &Devices, policy: Policy, listen: &str) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server::role_server", "--ignored", "--nocapture"])
            .env("BACKEND", devices.backend.name())
            .env("DEVICE", &devices.server)
            .env("POLICY", policy.name())
            .env("LISTEN", listen)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it ended before it listened").unwrap();
            // The test harness says things of its own, on the same line.
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.parse().unwrap();
            }
        };
        Server { child, address }
    }

    /// Stops it: none of its threads runs when this returns.
    pub(crate) fn stop(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).unwrap();
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process), until).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answering {
    kept: std::cell::RefCell<Vec<Incoming>>,
}

#[async_trait(?Send)]
impl Dispatcher for Answering {
    fn fast(&self, messenger: &LocalMessenger, mut message: Incoming) -> Option<Incoming> {
        match message.r#type() {
            ECHO => {
                let reply_to = message.take_reply_to()?;
                let mut bytes = [0; 1024];
                let mut reply = Message::new(ECHO, message.front(&mut bytes), Instant::FAR);
                let len = message.data_len();
                if len > 0 {
                    let lease = messenger.lease(len).unwrap();
                    let mut data = vec![0; len as usize];
                    assert!(message.read(0, &mut data));
                    lease.write(0, &data);
                    reply = reply.with(Data::all(lease));
                }
                // The client may be gone.
                let _ = messenger.reply(reply_to, reply);
            }
            KEEP => self.kept.borrow_mut().push(message),
            LEFT => {
                let reply_to = message.take_reply_to()?;
                self.kept.borrow_mut().clear();
                let left = messenger.with(|messenger| messenger.outstanding());
                let text = format!("{} {} {}", left.connections, left.outgoing, left.pool_leases);
                let _ = messenger.reply(reply_to, Message::new(LEFT, text.as_bytes(), Instant::FAR));
            }
            _ => {}
        }
        None
    }

    async fn deliver(&self, _messenger: LocalMessenger, _message: Incoming) {}
}

/// Not a test: what a server process does.
#[test]
#[ignore = "a role, which other tests start in a process of its own"]
fn role_server() {
    let Ok(device) = std::env::var("DEVICE") else { return };
    let backend = std::env::var("BACKEND").unwrap().parse().unwrap();
    let policy = Policy::from_name(&std::env::var("POLICY").unwrap()).unwrap();
    let listen: SocketAddr = std::env::var("LISTEN").unwrap().parse().unwrap();
    local(async move {
        let answering = Answering { kept: std::cell::RefCell::default() };
        let (messenger, mut carrier) = open(backend, &device, 2, answering);
        messenger.bind(Some(policy));
        let address = loop {
            // A server that was killed a moment ago may still hold the port.
            match carrier.listen(listen).await {
                Ok(address) => break address,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        #[expect(clippy::print_stdout, reason = "a test is told where to dial")]
        {
            println!("listening on {address}");
        }
        // Until it is killed.
        carrier.run(clock(), std::future::pending::<()>()).await.unwrap();
    });
}
