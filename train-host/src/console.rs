//! Lines for people on standard error: notes, progress and errors. Whether anybody reads them never decides how a command
//! ends.

use std::fmt::Display;
use std::io::Write as _;

/// Writes `text` and a line break to standard error, in one piece. A standard error that is closed or full is ignored: there
/// is nowhere left to complain.
pub fn say(text: impl Display) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
