//! Standard output: whole lines, and quiet when whoever read it has gone. Standard error: what is told there is told where it
//! can be, and never the end of a program.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

/// Stands for standard output where an error names a file.
pub const STDOUT: &str = "standard output";

/// Whether `path` means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

/// Prints `text` as it is.
///
/// # Errors
/// When it cannot be written; see [`exit_code`] for a reader that has gone.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(|e| artifact::Error::io(STDOUT, e))?)
}

/// Writes `line` to standard error. Where that is full or closed nobody can be told, and no program ends for it, as it would by
/// `eprintln!`.
pub fn note(line: impl Display) {
    // In one piece, so that lines of several threads do not mix.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints for people: to standard output, unless the JSON document in `json` owns it.
///
/// # Errors
/// As [`print`].
pub fn say(json: Option<&Path>, text: &str) -> Result<()> {
    if json.is_some_and(is_stdout) {
        note(text);
        return Ok(());
    }
    print(&format!("{text}\n"))
}

/// Writes `document` as JSON to where `json` says, if anywhere.
///
/// # Errors
/// When it cannot be written.
pub fn emit_json(json: Option<&Path>, document: &impl Serialize) -> Result<()> {
    let Some(path) = json else { return Ok(()) };
    let text = serde_json::to_string_pretty(document).context("the report cannot be written as JSON")? + "\n";
    if is_stdout(path) { print(&text) } else { Ok(artifact::atomic::write(path, text.as_bytes())?) }
}

/// Says what `error` is, and gives the exit code for it.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if !is_closed_stdout(error) {
        note(format_args!("error: {error}"));
    }
    ExitCode::FAILURE
}

/// Whether whoever read standard output has gone, as `head` does when it has seen enough: no fault of anybody.
pub fn is_closed_stdout(error: &anyhow::Error) -> bool {
    let of_runtime = || match error.downcast_ref() {
        Some(repedge::Error::Artifact(error)) => Some(error),
        _ => None,
    };
    matches!(error.downcast_ref().or_else(of_runtime), Some(artifact::Error::Io { path, source })
        if path == Path::new(STDOUT) && source.kind() == ErrorKind::BrokenPipe)
}
