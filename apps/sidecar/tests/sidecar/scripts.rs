//! What upstream's scripts ask for and look at: their URLs, and the keys of their jq filters.

use serde_json::Value;
use wavetank_sidecar::{ReadFormat, Settings};

use crate::stand_in::engine::Wrong;
use crate::world::{World, file, pattern, plain};

/// The value that a jq path leads to.
fn at<'a>(document: &'a Value, path: &str) -> &'a Value {
    let found = path.trim_start_matches('.').split('.').fold(document, |value, key| &value[key]);
    assert!(!found.is_null(), "{path} is not in {document}");
    found
}

#[tokio::test]
async fn the_integration_script_finds_what_it_looks_for() {
    let data = pattern(1, 5000);
    let settings = Settings { read_format: Some(ReadFormat::Json), ..Settings::default() };
    let world = World::of(&[plain(12345, &data)], settings).await;
    let health = world.get("/health").await.json();
    assert_eq!((at(&health, ".status"), at(&health, ".rdma.enabled")), (&"healthy".into(), &true.into()));
    let stats = world.get("/stats").await.json();
    for key in [
        ".enabled",
        ".connected",
        ".client_type",
        ".volume_server_url",
        ".rdma_socket_path",
        ".timestamp",
        ".capabilities.version",
        ".capabilities.max_sessions",
    ] {
        at(&stats, key);
    }
    let path = format!("/read?volume=3&needle=12345&cookie={}&size=1024", crate::world::COOKIE);
    let read = world.get(&path).await;
    assert_eq!(read.header("content-type"), "application/json");
    let read = read.json();
    assert_eq!(at(&read, ".success"), true);
    assert_eq!((at(&read, ".is_rdma"), at(&read, ".source")), (&true.into(), &"rdma".into()));
    assert_eq!((at(&read, ".data_size"), at(&read, ".use_temp_file")), (&1024.into(), &false.into()));
    let preview: String = data[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(at(&read, ".data_preview"), &Value::from(preview));
    for key in [".duration", ".session_id", ".volume_id", ".needle_id", ".cookie", ".timestamp", ".temp_file"]
    {
        at(&read, key);
    }
    let failed = world.get("/read?volume=999&needle=999999&size=1024").await.json();
    assert_eq!(at(&failed, ".success"), false);
    world.engine.set(Some(Wrong::Gone));
    let fallen = world.get(&path).await.json();
    assert_eq!((at(&fallen, ".is_rdma"), at(&fallen, ".source")), (&false.into(), &"http".into()));
    assert_eq!(world.get("/stats").await.json()["connected"], false);
}

#[tokio::test]
async fn the_benchmark_scripts_find_what_they_look_for() {
    let world = World::of(&[plain(1, &pattern(2, 5000))], Settings::default()).await;
    let answer = world.get("/benchmark?iterations=5&size=2048").await.json();
    let results = at(&answer, ".benchmark_results");
    for key in [
        "iterations",
        "size_per_op",
        "total_duration",
        "successful_ops",
        "failed_ops",
        "rdma_ops",
        "http_ops",
        "avg_latency",
        "throughput_mbps",
        "ops_per_sec",
        "total_bytes",
    ] {
        at(results, key);
    }
    assert_eq!(results["failed_ops"], 5, "there is no volume 1, and nobody makes it up");
    let named = world.get(&format!("/benchmark?iterations=5&size=2048&file_id={}", file(1))).await.json();
    let of = |key: &str| named["benchmark_results"][key].clone();
    assert_eq!(
        (of("successful_ops"), of("rdma_ops"), of("total_bytes")),
        (5.into(), 5.into(), 10_240.into())
    );
    for bad in ["iterations=0", "iterations=10001", "size=0", "size=18446744073709551615"] {
        assert_eq!(world.get(&format!("/benchmark?{bad}")).await.status, 400, "{bad}");
    }
    assert_eq!(at(&world.get("/stats").await.json(), ".total_requests"), 0, "/read alone is counted");
}

#[tokio::test]
async fn the_other_program_s_routes_answer_as_it_would_have_liked_to() {
    let data = pattern(3, 5000);
    let world = World::of(&[plain(1, &data)], Settings::default()).await;
    let got = world.get(&format!("/rdma/read?file_id={}&offset=100", file(1))).await;
    assert!(got.status == 200 && got.body == data[100..4196]);
    for name in ["x-rdma-session-id", "x-rdma-duration", "x-rdma-transfer-rate"] {
        assert!(!got.header(name).is_empty(), "{name}");
    }
    assert_eq!(
        (got.header("x-rdma-bytes-read"), got.header("content-type")),
        ("4096", "application/octet-stream")
    );
    let missing = world.get("/rdma/read").await;
    assert!(missing.status == 400 && missing.text().contains("missing 'file_id' parameter"));
    let ping = world.get("/rdma/ping").await.json();
    assert_eq!((at(&ping, ".success"), at(&ping, ".engine_latency")), (&true.into(), &"20\u{b5}s".into()));
    let capabilities = world.get("/rdma/capabilities").await.json();
    for key in [
        "version",
        "device_name",
        "vendor_id",
        "max_sessions",
        "max_transfer_size",
        "active_sessions",
        "real_rdma",
        "port_gid",
        "port_lid",
        "supported_auth",
    ] {
        at(&capabilities, key);
    }
    world.engine.set(Some(Wrong::Gone));
    assert_eq!(world.get("/rdma/ping").await.status, 500);
    let gone = world.get("/rdma/capabilities").await;
    assert!(gone.status == 503 && gone.text().contains("No capabilities available"), "{gone:?}");
}

#[tokio::test]
async fn a_document_is_given_to_who_asks_for_it() {
    use base64::Engine as _;
    let data = pattern(4, 1000);
    let world = World::of(&[plain(1, &data)], Settings::default()).await;
    let path = format!("/read?file_id={}", file(1));
    assert_eq!(world.get(&path).await.body.len(), 1000, "raw without a word");
    assert_eq!(world.ask("GET", &path, &[("accept", "*/*")]).await.body.len(), 1000, "curl");
    assert_eq!(world.ask("GET", &path, &[("accept", "application/json")]).await.json()["data_size"], 1000);
    let whole = world.get(&format!("{path}&format=json&data=base64")).await.json();
    let text = whole["data_base64"].as_str().unwrap();
    assert!(base64::engine::general_purpose::STANDARD.decode(text).unwrap() == data);
}
