//! Clients that mean no good, and clients that never end.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use wavetank_sidecar::Settings;

use crate::world::{World, file, pattern, plain};

/// Says something, and what is answered until the connection ends.
async fn say(world: &World, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let _ = stream.write_all(text).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn still_serves(world: &World) {
    assert_eq!(world.read(1).await.status, 200);
}

#[tokio::test]
async fn heads_that_flood_or_make_no_sense_end_their_connection() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let many = (0..200).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    let path = "a=b&".repeat(20_000);
    for (text, statuses) in [
        (format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &["431"][..]),
        (format!("GET /health HTTP/1.1\r\nhost: x\r\n{long}\r\n"), &["431"]),
        (format!("GET /read?{path} HTTP/1.1\r\nhost: x\r\n\r\n"), &["431", "414"]),
        ("GET /%00/../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), &["404"]),
        ("GET /read/../health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), &["404"]),
        ("\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n".to_owned(), &["400", ""]),
        ("GET /read?file_id=\x01 HTTP/1.1\r\n\r\n".to_owned(), &["400"]),
    ] {
        let said = say(&world, text.as_bytes()).await;
        let status = said.split(' ').nth(1).unwrap_or_default();
        // Who says so much that it is not read may see the connection end before the answer.
        assert!(
            statuses.contains(&status) || (text.len() > 16_384 && said.is_empty()),
            "{:.60}: {said}",
            text
        );
        still_serves(&world).await;
    }
}

#[tokio::test]
async fn who_says_a_letter_a_second_is_cut_off() {
    let settings = Settings { head_timeout_ms: Some(500), ..Settings::default() };
    let world = World::of(&[plain(1, b"data")], settings).await;
    let begun = Instant::now();
    let drip = async {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        for letter in
            b"GET /health HTTP/1.1\r\nhost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".iter().cycle()
        {
            if stream.write_all(&[*letter]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), drip).await.expect("it is cut off");
    assert!(begun.elapsed() >= Duration::from_millis(500));
    still_serves(&world).await;
}

#[tokio::test]
async fn who_does_not_take_his_answer_is_cut_off() {
    let data = pattern(1, 16 << 20);
    let settings = Settings { body_timeout_ms: Some(500), ..Settings::default() };
    let world = World::of(&[plain(1, &data)], settings).await;
    world.engine.max.store(64 << 20, std::sync::atomic::Ordering::Relaxed);
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET /read?file_id={} HTTP/1.1\r\nhost: x\r\n\r\n", file(1));
    stream.write_all(request.as_bytes()).await.unwrap();
    let connections = async || world.get("/stats").await.json()["connections"].as_u64().unwrap();
    for _ in 0..200 {
        sleep(Duration::from_millis(100)).await;
        // Only the connection that asks is left.
        if connections().await == 1 {
            let mut taken = Vec::new();
            let _ = stream.read_to_end(&mut taken).await;
            assert!(taken.len() < data.len(), "the rest was never sent");
            return;
        }
    }
    panic!("{} connections after 20 s", connections().await);
}

/// 10,000, for which both ends of each have a descriptor here; fewer where the system allows no more, which is said.
fn idle_connections() -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    let (most, wanted) = (limits.maximum.unwrap_or(1 << 20), 10_000);
    limits.current = Some(limits.current.unwrap_or(1 << 20).max(most.min(2 * wanted + 500)));
    let _ = setrlimit(Resource::Nofile, limits);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let there = (limit.saturating_sub(500) / 2).min(wanted);
    if there < wanted {
        #[expect(clippy::print_stderr, reason = "a test that does less says so")]
        {
            eprintln!("{there} idle connections and not {wanted}: at most {limit} descriptors are allowed");
        }
    }
    there as usize
}

#[tokio::test]
async fn thousands_of_idle_connections_leave_room_for_nobody_and_take_nothing_else() {
    let wanted = idle_connections();
    let settings = Settings {
        http_connections: Some(wanted as u64 / 2),
        head_timeout_ms: Some(3000),
        ..Settings::default()
    };
    let world = World::of(&[plain(1, b"data")], settings).await;
    let mut idle = Vec::new();
    for _ in 0..wanted {
        idle.push(TcpStream::connect(world.address).await.unwrap());
    }
    let said = say(&world, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503") && said.contains("Retry-After: 1"), "{said}");
    // Those who say nothing lose their places, and then there is room again.
    for _ in 0..200 {
        sleep(Duration::from_millis(100)).await;
        let said = say(&world, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        if said.starts_with("HTTP/1.1 200") {
            let stats = world.get("/stats").await.json();
            assert!(stats["connections_refused"].as_u64().unwrap() >= wanted as u64 / 2, "{stats}");
            return;
        }
    }
    panic!("no room after 20 s");
}
