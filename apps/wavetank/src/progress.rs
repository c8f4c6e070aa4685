//! A progress bar that appears only where somebody waits for it: on a terminal, after a second.

use std::io::IsTerminal as _;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use wavetank_harness::Progress;

use crate::clock::Clock;
use crate::figures::duration;

/// A run that takes longer than this shows how far it is.
const PATIENCE_S: f64 = 1.0;

const OF_KNOWN: &str = "{wide_bar} {human_pos}/{human_len} operations, {rate}/s, {eta} left";
const OF_UNKNOWN: &str = "{spinner} {human_pos} operations, {rate}/s, virtual time {msg}";

/// Shown or not.
pub(crate) struct Bar {
    bar: ProgressBar,
    wanted: bool,
    clock: Clock,
}

impl Bar {
    /// Hidden, and patient from now on.
    pub(crate) fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Bar { bar, wanted: std::io::stderr().is_terminal(), clock: Clock::start() }
    }

    /// How far the run is.
    pub(crate) fn show(&self, progress: &Progress) {
        if !self.wanted || self.clock.wall_s() < PATIENCE_S {
            return;
        }
        if self.bar.is_hidden() {
            self.appear(progress);
        }
        if progress.of.is_none() {
            self.bar.set_message(duration(progress.at.0));
        }
        self.bar.set_position(progress.ops);
    }

    fn appear(&self, progress: &Progress) {
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Some(of) = progress.of {
            self.bar.set_length(of);
        }
        let template = if progress.of.is_some() { OF_KNOWN } else { OF_UNKNOWN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Nothing can be done about a terminal that refuses.
                let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
            };
            self.bar.set_style(style.with_key("rate", rate));
        }
    }

    /// Gone without a trace.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
