//! A progress bar on stderr. It is hidden when stderr is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;
use crate::format::Format;

/// A counter of items whose number is unknown. Programs that read JSON do not need it.
pub(crate) fn counter(context: &Context, items: &'static str) -> ProgressBar {
    let target = match context.output.format() {
        Format::Table => ProgressDrawTarget::stderr(),
        Format::Json | Format::Ndjson => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target).with_message(items);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {human_pos} {msg}, {per_sec}, {elapsed}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The state of one operation.
pub(crate) fn spinner(context: &Context) -> ProgressBar {
    let bar = counter(context, "");
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The state of a fleet of this size.
pub(crate) fn fleet(context: &Context, devices: u64) -> ProgressBar {
    let bar = counter(context, "");
    bar.set_length(devices);
    if let Ok(style) =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {elapsed}\n{msg}")
    {
        bar.set_style(style);
    }
    bar
}
