//! How far seeds, shrinking and benchmarks are: on a terminal, after a second.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Clock;

const PATIENCE_S: f64 = 1.0;

const SEEDS: &str = "{wide_bar} {human_pos}/{human_len} seeds, {per_sec}, {eta} left{msg}";
const RUNS: &str = "{wide_bar} {human_pos}/{human_len} runs, {per_sec}{msg}";

const CELLS: &str = "{wide_bar} {human_pos}/{human_len} cells, {eta} left{msg}";

/// How far shrinking is.
pub(crate) struct RunsBar(Bar);

impl RunsBar {
    /// Hidden, and patient from now on.
    pub(crate) fn new(runs_max: u32) -> RunsBar {
        RunsBar(Bar::of(runs_max.into(), RUNS))
    }

    /// How far it is.
    pub(crate) fn show(&self, runs: u32, ops: usize) {
        self.0.show_with(runs.into(), || format!(", {ops} operations left"));
    }

    /// Gone without a trace.
    pub(crate) fn done(&self) {
        self.0.done();
    }
}

/// How far a benchmark is.
pub(crate) struct CellsBar(Bar);

impl CellsBar {
    /// Hidden, and patient from now on.
    pub(crate) fn new(cells: u64) -> CellsBar {
        CellsBar(Bar::of(cells, CELLS))
    }

    /// How far it is, and what comes now.
    pub(crate) fn show(&self, cells: u64, now: &str) {
        self.0.show_with(cells, || format!(", now {now}"));
    }

    /// Gone without a trace.
    pub(crate) fn done(&self) {
        self.0.done();
    }
}

/// How far seeds are. Shown or not.
pub(super) struct Bar {
    bar: ProgressBar,
    wanted: bool,
    clock: Clock,
}

impl Bar {
    pub(super) fn new(seeds: u64) -> Bar {
        Bar::of(seeds, SEEDS)
    }

    fn of(count: u64, line: &str) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        Bar { bar, wanted: std::io::stderr().is_terminal(), clock: Clock::start() }
    }

    pub(super) fn show(&self, seeds: u64, failed: u64) {
        self.show_with(seeds, || if failed > 0 { format!(", {failed} FAILED") } else { String::new() });
    }

    fn show_with(&self, position: u64, message: impl FnOnce() -> String) {
        if !self.wanted || self.clock.wall_s() < PATIENCE_S {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
        self.bar.set_message(message());
    }

    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
