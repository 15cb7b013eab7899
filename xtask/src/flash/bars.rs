//! Progress of long steps, on stderr: a bar on a terminal, and a line at the end where there is none.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over bytes.
pub fn bytes(verb: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:15} {bar:30} {bytes}/{total_bytes} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_prefix(verb)
}

/// Ends a bar with a word, which is also said where no bar is drawn.
pub fn finish(bar: &ProgressBar, word: &'static str) {
    bar.finish_with_message(word);
    if bar.is_hidden() {
        eprintln!("{word}: {} bytes", bar.length().unwrap_or_default());
    }
}
