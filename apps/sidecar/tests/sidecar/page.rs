//! The page, and the description for machines.

use serde_json::Value;
use wavetank_sidecar::Settings;

use crate::world::{World, file, plain};

/// `s.KEY` and `s.KEY.KEY` in a script.
fn keys(script: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in script.match_indices("s.") {
        let before = script[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '.' || before == '_' {
            continue;
        }
        let chain: String = script[at + 2..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
            .collect();
        let chain: Vec<_> = chain.split('.').map(str::to_owned).take_while(|key| *key != "map").collect();
        found.push(chain);
    }
    found
}

fn missing(script: &str, stats: &Value) -> Vec<Vec<String>> {
    let is_there = |chain: &[String]| !chain.iter().fold(stats, |value, key| &value[key]).is_null();
    keys(script).into_iter().filter(|chain| !is_there(chain)).collect()
}

#[tokio::test]
async fn the_page_needs_no_network_and_shows_what_there_is() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    world.read(1).await;
    let page = world.get("/ui").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    let (page, help) = (page.text(), world.get("/").await.text());
    for text in [&page, &help] {
        for word in ["http:", "https:", "//cdn", "src=", "@import", "url(", "<link"] {
            assert!(!text.contains(word), "{word} leads away from the page");
        }
    }
    let stats = world.get("/stats").await.json();
    let found = keys(&page);
    assert!(found.len() > 12, "{found:?}");
    assert_eq!(missing(&page, &stats), Vec::<Vec<String>>::new());
    assert_eq!(missing("f(s.reads, s.no_such_key)", &stats), [["no_such_key"]], "the check can fail");
    for key in ["reads", "bytes", "p50_us", "p90_us", "p99_us", "max_us"] {
        assert!(stats["reads"]["pull"][key].is_u64(), "{key}: {stats}");
    }
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let document = world.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 12);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let got = world.ask(&method.to_uppercase(), path, &[]).await;
            let described = &document["paths"][path][method]["responses"][got.status.to_string()];
            assert!(
                got.status != 404 && got.status != 405 && described.is_object(),
                "{method} {path}: {}",
                got.status
            );
        }
        assert_eq!(world.ask("PATCH", path, &[]).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_what_a_collector_reads() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    world.read(1).await;
    world.get("/read?file_id=3,0200000000").await;
    let text = world.get("/metrics").await.text();
    for line in [
        "wavetank_sidecar_read_duration_seconds_count{path=\"pull\",size=\"4KiB\"} 1",
        "wavetank_sidecar_read_size_bytes_total{path=\"pull\",size=\"4KiB\"} 4",
        "wavetank_sidecar_read_failures_total{status=\"404\"} 1",
        "wavetank_sidecar_engine_connected 1",
        "wavetank_sidecar_simulated 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(world.get(&format!("/read?file_id={}", file(1))).await.status, 200);
}
