//! Errors of the host tools, by whose fault they are.

use std::path::Path;

use artifact::Fault;

/// Stands for standard output where an error names a file.
const STDOUT: &str = "standard output";

/// Result with the host's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong on the host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument or configuration file that cannot be used.
    #[error("{0}")]
    Input(Fault),
    /// A label, image or dataset description that is broken.
    #[error("{0}")]
    Data(Fault),
    /// A model description, graph or weights file that does not fit.
    #[error("{0}")]
    Model(Fault),
    /// Training went wrong (NaN loss, libtorch error, device missing).
    #[error("{0}")]
    Backend(Fault),
    /// A bundle or file error.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// The device runtime refused.
    #[error(transparent)]
    Runtime(#[from] repedge::Error),
}

impl Error {
    /// [`Error::Input`] from what was found, what was expected and what to do.
    pub fn input(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input(Fault::new(found, expected, hint))
    }

    /// [`Error::Data`] from what was found, what was expected and what to do.
    pub fn data(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Data(Fault::new(found, expected, hint))
    }

    /// [`Error::Model`] from what was found, what was expected and what to do.
    pub fn model(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Model(Fault::new(found, expected, hint))
    }

    /// [`Error::Backend`] from what was found, what was expected and what to do.
    pub fn backend(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Backend(Fault::new(found, expected, hint))
    }

    /// An I/O error of standard output.
    pub fn stdout(source: std::io::Error) -> Self {
        Self::io(STDOUT, source)
    }

    /// Whether whoever read standard output has gone, as `head` does when it has seen enough: no fault of anybody.
    pub fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Artifact(artifact::Error::Io { path, source })
            if path == Path::new(STDOUT) && source.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// An I/O error at `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Artifact(artifact::Error::io(path, source))
    }
}
