//! The `--json` flag every measuring command shares: `--json` prints one JSON document on stdout, `--json=FILE`
//! writes it into FILE. Keeps stdout to that one document; never decides what is in it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::out_path;
use crate::{Error, Result, console};

/// Stands for stdout where a file name is expected.
const STDOUT: &str = "-";

/// Arguments to flatten into a command: `#[command(flatten)] json: JsonArgs`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct JsonArgs {
    /// Print the result as one JSON document on stdout, or write it into FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = STDOUT)]
    json: Option<PathBuf>,
}

impl JsonArgs {
    /// Checks that the document does not go into the file `other`, which is `role` of the command.
    ///
    /// # Errors
    /// [`Error::Input`] when it does.
    pub fn expect_other(&self, role: &str, other: &Path) -> Result<()> {
        match &self.json {
            Some(path) if !self.owns_stdout() => out_path::expect_other("--json", path, role, other),
            _ => Ok(()),
        }
    }

    /// Checks that the document's file, if it goes into one, can be made.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot.
    pub fn expect_writable(&self) -> Result<()> {
        match &self.json {
            Some(path) if !self.owns_stdout() => out_path::expect_writable("--json", path),
            _ => Ok(()),
        }
    }

    /// Prints or writes `document` where the user asked for it; does nothing without `--json`.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the file or stdout cannot be written.
    pub fn emit(&self, document: &impl Serialize) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(document).map_err(|e| Error::io(path, e.into()))?;
        text.push('\n');
        if self.owns_stdout() { print(&text) } else { Ok(artifact::atomic::write(path, text.as_bytes())?) }
    }

    /// Prints text for a person: on stdout, or on stderr where stdout belongs to the JSON document.
    ///
    /// # Errors
    /// [`Error::Artifact`] when stdout cannot be written.
    pub fn say(&self, text: &str) -> Result<()> {
        if self.owns_stdout() {
            console::say(text);
            Ok(())
        } else {
            print(&format!("{text}\n"))
        }
    }

    fn owns_stdout(&self) -> bool {
        self.json.as_deref().is_some_and(|path| path == Path::new(STDOUT) || path == Path::new("/dev/stdout"))
    }
}

/// Prints `text` on stdout as it is.
///
/// # Errors
/// As [`Error::stdout`].
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::stdout)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Probe {
        run: String,
        #[command(flatten)]
        json: JsonArgs,
    }

    fn parse(words: &[&str]) -> Probe {
        Probe::try_parse_from([&["probe"], words].concat()).unwrap()
    }

    #[test]
    fn bare_flag_means_stdout_and_never_swallows_the_next_word() {
        let probe = parse(&["--json", "runs/a"]);
        assert_eq!(probe.run, "runs/a");
        assert!(probe.json.owns_stdout());
        assert!(parse(&["runs/a", "--json=/dev/stdout"]).json.owns_stdout());
        assert!(!parse(&["runs/a"]).json.owns_stdout());
    }

    #[test]
    fn document_goes_into_the_named_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.json");
        let probe = parse(&["runs/a", &format!("--json={}", path.display())]);
        probe.json.emit(&[1, 2]).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "[\n  1,\n  2\n]\n");
    }
}
