//! What `bench needles` found, for people and for machines.

use serde_json::{Value, json};
use wavetank_client::ReadPath;
use wavetank_daemon::bench::Way;

use super::engines::Places;
use super::{Found, Plan, Rounds, WAYS};
use crate::bench_volume::size;
use crate::beside::{median, shown, shown_ratio};
use crate::figures::duration;
use crate::table::table;

/// A way to read, as it is called in the table.
pub(super) fn name(path: ReadPath, way: Way) -> &'static str {
    match (path, way) {
        (ReadPath::Pull, Way::Ring) => "pull, ring",
        (ReadPath::Pull, Way::Socket) => "pull, socket",
        (_, Way::Ring) => "push, ring",
        (_, Way::Socket) => "push, socket",
    }
}

impl Found {
    /// ns of one at a time, or bytes per second of many.
    fn figure(&self, rounds: &Rounds) -> Option<f64> {
        match self.window {
            1 => rounds.median_of(|figures| figures.median_ns),
            _ => rounds.median_of(|figures| figures.bytes_per_s),
        }
    }

    /// How many times as good as this.
    fn times(&self, ours: &Rounds, theirs: Option<f64>) -> Option<f64> {
        let (ours, theirs) = (self.figure(ours)?, theirs?);
        Some(if self.window == 1 { theirs / ours } else { ours / theirs })
    }

    /// Ours by the bare backend's.
    fn by_bare(&self, ours: &Rounds) -> Option<f64> {
        Some(self.figure(ours)? / median(&self.bare)?)
    }
}

/// What all cores spent on a read.
fn core_ns(rounds: &Rounds) -> Option<f64> {
    rounds.median_of(|figures| figures.client_ns + figures.servers_ns)
}

pub(super) fn text(plan: &Plan, all: &[Found]) -> String {
    let rows = all.iter().flat_map(|found| {
        let many = found.window > 1;
        let http = found.figure(&found.http);
        WAYS.into_iter().zip(&found.ours).map(move |((path, way), ours)| {
            vec![
                format!("{} over {}, {}", size(found.bytes), found.device, name(path, way)),
                found.window.to_string(),
                shown(found.figure(ours), many),
                shown(median(&found.bare), many),
                shown_ratio(found.by_bare(ours)),
                shown(http, many),
                shown_ratio(found.times(ours, http)),
                core_ns(ours).map_or("n/a".to_owned(), |ns| duration(ns as u64)),
                core_ns(&found.http).map_or("n/a".to_owned(), |ns| duration(ns as u64)),
            ]
        })
    });
    let head =
        ["needles of", "in flight", "wavetank", "bare READ", "ratio", "HTTP", "times", "CPU", "HTTP's CPU"];
    format!(
        "{}\n\nMedians of {} rounds in turn, every byte compared outside the clock. One in flight: the median time of a read; more: \
         bytes per second.\nTimes: how many times as fast as HTTP; the aim is more than 1. CPU: of all processes, for a read; engines \
         poll.",
        table(&head, rows),
        plan.rounds
    )
}

pub(super) fn to_json(plan: &Plan, places: &Places, all: &[Found]) -> Value {
    let figures = |rounds: &Rounds| {
        json!({
            "median_ns": rounds.median_of(|figures| figures.median_ns),
            "per_s": rounds.median_of(|figures| figures.per_s),
            "bytes_per_s": rounds.median_of(|figures| figures.bytes_per_s),
            "client_core_ns": rounds.median_of(|figures| figures.client_ns),
            "servers_core_ns": rounds.median_of(|figures| figures.servers_ns),
        })
    };
    let cells = all.iter().map(|found| {
        let http = found.figure(&found.http);
        let ways = WAYS.into_iter().zip(&found.ours).map(|((path, way), ours)| {
            let mut way = json!({
                "way": name(path, way),
                "by_bare": found.by_bare(ours),
                "times_http": found.times(ours, http),
            });
            way["figures"] = figures(ours);
            way
        });
        json!({
            "device": found.device,
            "bytes": found.bytes,
            "in_flight": found.window,
            "count": found.count,
            "unit": if found.window == 1 { "ns" } else { "bytes/s" },
            "ways": ways.collect::<Vec<_>>(),
            "bare": median(&found.bare),
            "http": figures(&found.http),
            "failed": found.failed,
        })
    });
    json!({
        "rounds": plan.rounds,
        "cpus": places.pair(),
        "client_has_its_own_cpu": places.client_has_its_own(),
        "cells": cells.collect::<Vec<_>>(),
    })
}
