//! Health and metrics over HTTP.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use wavetank_daemon::health::{Figure, Health, Told, questions, serve};
use wavetank_daemon::meters::Meters;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_and_metrics_are_what_the_engine_says() {
    let (asking, mut asked) = questions();
    let meters = Meters::default();
    meters.read("push", 10, 1_000);
    let (address, serving) = serve("127.0.0.1:0".parse().unwrap(), asking, meters).await.unwrap();
    let serving = tokio::spawn(serving);
    let engine = tokio::spawn(async move {
        let mut status = "ok";
        while let Some(question) = asked.recv().await {
            let health = Health { status, simulated: true, ..Health::default() };
            let figures = vec![Figure {
                name: "sessions",
                help: "Reads begun and not completed",
                total: false,
                value: 3,
            }];
            let _ = question.send(Told { health, figures });
            status = "draining";
        }
    });
    let health = get(address, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"simulated\":true"), "{health}");
    let draining = get(address, "/healthz").await;
    assert!(draining.starts_with("HTTP/1.1 503"), "{draining}");
    let metrics = get(address, "/metrics").await;
    for line in [
        "wavetank_sessions 3",
        "wavetank_simulated 1",
        "read_duration_seconds_count{path=\"push\",size=\"4KiB\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

    // An engine that is gone is unhealthy, and said to be so at once.
    engine.abort();
    sleep(Duration::from_millis(10)).await;
    let gone = get(address, "/healthz").await;
    assert!(gone.starts_with("HTTP/1.1 503") && gone.contains("does not answer"), "{gone}");
    serving.abort();
}
