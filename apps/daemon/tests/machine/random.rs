//! Whatever may come: nothing is worse than an end of the connection, and everything goes back.

use proptest::prelude::*;
use wavetank_daemon::ipc::ClientLimits;
use wavetank_ipc::native::FromClient;
use wavetank_ipc::seaweed::{Message, Ping, frame, request_as_go};

use super::native::{read, with_ring};
use super::seaweed::start;
use super::talk::{House, MS};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_a_connection_at_worst(bytes in proptest::collection::vec(any::<u8>(), 0..400), native: bool, cut in 0usize..400) {
        let house = House::new(ClientLimits::default());
        let mut talk = house.talk(1000);
        if native {
            talk.greet(0);
        }
        let cut = cut.min(bytes.len());
        talk.hear(0, &bytes[..cut]);
        talk.hear(MS, &bytes[cut..]);
        talk.tick(u64::MAX / 2);
        drop(talk);
        house.commons.shut();
        prop_assert_eq!(house.out(), (0, 0));
        prop_assert_eq!(house.commons.stats().connections_now.get(), 0);
    }

    #[test]
    fn interleaved_clients_get_what_is_theirs(steps in proptest::collection::vec((0usize..4, 0u8..6, any::<u64>()), 1..60)) {
        let house = House::new(ClientLimits { leases_max: 6, ..ClientLimits::default() });
        let mut native = [with_ring(&house, 8), with_ring(&house, 8)];
        let mut upstream = [house.talk(1), house.talk(2)];
        for (at, (who, what, word)) in (1u64..).zip(steps) {
            if who < 2 {
                let talk = &mut native[who];
                match what {
                    0 => talk.say(at, word, &read(3, 2 + word % 9, word % 5000)),
                    1 => talk.say(at, word, &read(1_000, 2, 10)),
                    2 => talk.say(at, word, &FromClient::Cancel),
                    3 => talk.say(at, 0, &FromClient::Release { offset: word, generation: word % 40 }),
                    4 => talk.say(at, word, &FromClient::Ping(word)),
                    _ => talk.turn_ring(at),
                }
                let _ = talk.replies();
            } else {
                let talk = &mut upstream[who - 2];
                let ping = Message::Ping(Ping { timestamp_ns: word, client_id: None });
                let message = if what < 3 { start(2 + word % 9, 0, word % 5000, word) } else { ping };
                talk.hear(at, &frame(&request_as_go(&message).unwrap()));
                prop_assert_eq!(talk.messages().len(), 1);
            }
        }
        drop(native);
        drop(upstream);
        house.commons.shut();
        prop_assert_eq!(house.out(), (0, 0));
        prop_assert_eq!(house.commons.stats().sessions_now.get(), 0);
    }
}
