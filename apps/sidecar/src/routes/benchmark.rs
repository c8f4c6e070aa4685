//! `/benchmark`: some reads one after the other, and what they took. Bounded, and one at a time.

use std::time::Duration;

use axum::extract::State as Of;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use super::json;
use super::read::plain;
use crate::attempts::Attempts;
use crate::clock::{go_duration, timestamp};
use crate::file_id::FileId;
use crate::reads::{Range, Way};
use crate::request::{BadParameter, Parameters};
use crate::state::State;

/// Reads at most.
const ITERATIONS_MAX: u64 = 10_000;

/// Bytes of each at most.
const SIZE_MAX: u64 = 16 << 20;

/// Time at most.
const TIME: Duration = Duration::from_secs(60);

struct Plan {
    iterations: u64,
    size: u64,
    /// The needle; nothing is upstream's choice, needles 1 and on of volume 1.
    file: Option<FileId>,
    hint: Option<String>,
}

fn plan(query: &str) -> Result<Plan, BadParameter> {
    let parameters = Parameters::parse(query)?;
    let bounded =
        |name: &'static str, usual: u64, max: u64| match parameters.number::<u64>(name)?.unwrap_or(usual) {
            number if (1..=max).contains(&number) => Ok(number),
            number => Err(BadParameter::new(name, format!("{number} is not within 1 to {max}"))),
        };
    let named = parameters.text("file_id")?.is_some() || parameters.text("volume")?.is_some();
    Ok(Plan {
        iterations: bounded("iterations", 10, ITERATIONS_MAX)?,
        size: bounded("size", 4096, SIZE_MAX)?,
        file: if named { Some(parameters.file()?) } else { None },
        hint: parameters.text("volume_server")?.map(str::to_owned),
    })
}

#[derive(Default)]
struct Sums {
    done: u64,
    failed: u64,
    engine: u64,
    http: u64,
    bytes: u64,
    latency: Duration,
}

pub(super) async fn benchmark(Of(state): Of<State>, uri: Uri) -> Response {
    let plan = match plan(uri.query().unwrap_or_default()) {
        Ok(plan) => plan,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let Ok(_turn) = state.benchmark.try_lock() else {
        let why = "a benchmark is running; two would measure each other\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "10")], why).into_response();
    };
    let (begun, mut sums) = (Instant::now(), Sums::default());
    for number in 0..plan.iterations {
        let file = plan.file.unwrap_or(FileId { volume: 1, needle: number + 1, cookie: 0x1234_5678 });
        let range = Range { file, offset: 0, len: plan.size, hint: plan.hint.clone() };
        let at = Instant::now();
        let served = plain(&state, &range, &mut Attempts::default()).await;
        match served {
            Ok(served) => {
                let of_way = if served.way == Way::Http { &mut sums.http } else { &mut sums.engine };
                *of_way += 1;
                sums.done += 1;
                sums.bytes += served.len;
                sums.latency += at.elapsed();
            }
            Err(_) => sums.failed += 1,
        }
        if begun.elapsed() >= TIME {
            break;
        }
    }
    let total = begun.elapsed();
    let seconds = total.as_secs_f64().max(1e-9);
    let mean = sums.latency.checked_div(u32::try_from(sums.done).unwrap_or(u32::MAX)).unwrap_or_default();
    let told = json!({
        "benchmark_results": {
            "iterations": plan.iterations,
            "size_per_op": plan.size,
            "total_duration": go_duration(total),
            "successful_ops": sums.done,
            "failed_ops": sums.failed,
            "rdma_ops": sums.engine,
            "http_ops": sums.http,
            "avg_latency": go_duration(mean),
            "throughput_mbps": format!("{:.2}", sums.bytes as f64 / seconds / 1e6),
            "ops_per_sec": format!("{:.1}", sums.done as f64 / seconds),
            "total_bytes": sums.bytes,
        },
        "rdma_enabled": state.reads.engine.is_some(),
        "timestamp": timestamp(),
    });
    json(StatusCode::OK, &told)
}
