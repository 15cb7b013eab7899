//! Errors by whose fault they are, each saying what was found, what was expected and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// What every RepEdge error tells its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was met, with the name of the file, field or value.
    pub found: String,
    /// What would have been right.
    pub expected: String,
    /// What to do about it.
    pub hint: String,
}

impl Fault {
    /// A fault from its three parts.
    pub fn new(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into(), hint: hint.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  expected: {}\n  help: {}", self.found, self.expected, self.hint)
    }
}

/// Errors of reading and writing bundles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle is damaged, of another version, or says something impossible.
    #[error("{0}")]
    Artifact(Fault),
    /// The bundle is whole, and this device must not run it: by whom, for what or when it was made.
    #[error("{0}")]
    Untrusted(Fault),
    /// The operating system refused to read or write.
    #[error("{}: {source}\n  expected: a path that can be read or written\n  help: check that the path exists, is yours to access, and that the disk is not full", path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O error with the path it happened at.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }
}
