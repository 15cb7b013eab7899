//! Lines for people on standard error, and their words: notes, progress and errors. Whether anybody reads them never decides how a command
//! ends.

use std::fmt::Display;
use std::io::Write as _;

/// Writes `text` and a line break to standard error, in one piece. A standard error that is closed or full is ignored: there
/// is nowhere left to complain.
pub fn say(text: impl Display) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A count and its noun, in the plural where that is due: `1 image`, `2 images`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_no_plural() {
        assert_eq!((counted(1, "seed"), counted(3, "seed")), ("1 seed".into(), "3 seeds".into()));
    }
}
