//! The tank: simulated NICs in real time.

use std::time::Duration;

use async_trait::async_trait;
use tokio::task::LocalSet;
use wavetank_contract::{Instant, Lease};
use wavetank_daemon::tank::Tank;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig};
use wavetank_messenger::{
    Beside, Data, Deaf, Dispatcher, Incoming, LocalMessenger, Message, Messenger, MessengerConfig, Policy,
};

/// Answers with as many bytes as it was sent, all of one value.
struct Sevens;

#[async_trait(?Send)]
impl Dispatcher for Sevens {
    fn fast(&self, messenger: &LocalMessenger, mut message: Incoming) -> Option<Incoming> {
        let reply_to = message.take_reply_to()?;
        let lease: Lease = messenger.lease(1 << 16).unwrap();
        lease.write(0, &[7; 1 << 16]);
        messenger.reply(reply_to, Message::new(1, b"", Instant::FAR).with(Data::all(lease))).unwrap();
        None
    }

    async fn deliver(&self, _: LocalMessenger, _: Incoming) {}
}

/// Counts.
#[derive(Default)]
struct Turned {
    turns: u32,
    sleeps: u32,
}

impl Beside for Turned {
    fn turn(&mut self, _: Instant) -> bool {
        self.turns += 1;
        false
    }

    fn sleep(&mut self) -> bool {
        self.sleeps += 1;
        true
    }

    fn wake(&mut self) {}
}

fn messenger(tank: &mut Tank, name: u64, dispatcher: impl Dispatcher) -> LocalMessenger {
    let driver = Driver::new(tank.context(), DriverConfig::default());
    let instance = InstanceId::new(name).unwrap();
    let config = MessengerConfig::new(name, BackendKind::Mock);
    let messenger =
        LocalMessenger::new(Messenger::new(driver, BackendKind::Mock, instance, config).unwrap(), dispatcher);
    tank.add(messenger.clone());
    messenger
}

#[tokio::test(flavor = "current_thread")]
async fn bytes_move_between_both_ends_by_the_clock() {
    let mut tank = Tank::default();
    let server = messenger(&mut tank, 1, Sevens);
    server.bind(Some(Policy::StatelessServer));
    let client = messenger(&mut tank, 2, Deaf);
    let started = tokio::time::Instant::now();
    let clock = move || Instant(started.elapsed().as_nanos() as u64);
    let asking = async {
        let (connection, made) = client.connect("0", None, Policy::LossyClient).unwrap();
        made.await.unwrap();
        for round in 0..20 {
            if round == 10 {
                // Long enough for the tank to fall asleep.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let deadline = clock() + 5_000_000_000;
            let request = Message::new(1, b"", deadline);
            let reply = client.request(connection, request, None).unwrap().await.unwrap();
            assert_eq!(reply.data_len(), 1 << 16);
            let mut bytes = vec![0; 1 << 16];
            assert!(reply.read(0, &mut bytes));
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    };
    let mut beside = Turned::default();
    let limit = Duration::from_secs(20);
    let tasks = LocalSet::new();
    let ran = tasks.run_until(tank.run(clock, Duration::from_micros(50), &mut beside, asking));
    tokio::time::timeout(limit, ran).await.expect("it ends");
    assert!(beside.turns > 20, "what is beside is turned");
    assert!(beside.sleeps > 0, "and told of sleep");
}
