//! How far the seeds are: on a terminal, after a second.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Clock;

const PATIENCE_S: f64 = 1.0;

const LINE: &str = "{wide_bar} {human_pos}/{human_len} seeds, {per_sec}, {eta} left{msg}";

/// Shown or not.
pub(super) struct Bar {
    bar: ProgressBar,
    wanted: bool,
    clock: Clock,
}

impl Bar {
    pub(super) fn new(seeds: u64) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(LINE) {
            bar.set_style(style);
        }
        Bar { bar, wanted: std::io::stderr().is_terminal(), clock: Clock::start() }
    }

    pub(super) fn show(&self, seeds: u64, failed: u64) {
        if !self.wanted || self.clock.wall_s() < PATIENCE_S {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(seeds);
        if failed > 0 {
            self.bar.set_message(format!(", {failed} FAILED"));
        }
    }

    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
