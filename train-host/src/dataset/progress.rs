//! The progress bar of long steps: on stderr, and only when that is a terminal. Measures nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `length` steps that says `what` is being done; it vanishes when dropped or finished.
pub(super) fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>16} [{bar:32}] {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(length as u64).with_style(style).with_message(what.to_owned())
}
