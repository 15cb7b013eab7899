//! Where rknn-toolkit2 lies and which version it is. It lives in a Python environment of its own, because its pins fit
//! nothing else. Looks only: `cargo xtask setup rknn` makes the environment.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result};

/// The version that models are compiled with.
pub const VERSION: &str = "2.5.0";
/// Names the Python to use instead of the checkout's.
pub const VARIABLE: &str = "REPEDGE_RKNN_PYTHON";
/// The Python below a checkout.
const IN_CHECKOUT: &str = "toolchains/rknn/bin/python";
/// The option behind which Python takes a program: isolated, so that neither variables of the environment, nor the user's
/// own packages, nor the current folder give it other packages than its environment's.
pub(super) const RUN: &str = "-Ic";
/// Prints the version, without importing the package: that takes seconds.
const ASK_VERSION: &str = "import importlib.metadata as m; print(m.version('rknn-toolkit2'))";

/// An rknn-toolkit2 that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolkit {
    python: PathBuf,
}

impl Toolkit {
    /// Finds it: by the variable [`VARIABLE`], else in the checkout around the current folder or around this program.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none, or one of another version.
    pub fn find() -> Result<Self> {
        if let Some(python) = env::var_os(VARIABLE) {
            return Self::at(PathBuf::from(python));
        }
        let starts = [env::current_dir(), env::current_exe()].into_iter().flatten();
        let found =
            starts.flat_map(|start| start.ancestors().map(|a| a.join(IN_CHECKOUT)).collect::<Vec<_>>());
        match found.into_iter().find(|python| python.is_file()) {
            Some(python) => Self::at(python),
            None => Err(missing("no rknn-toolkit2".into())),
        }
    }

    /// The one that `python` imports.
    ///
    /// # Errors
    /// [`Error::Input`] as [`Toolkit::find`].
    pub fn at(python: PathBuf) -> Result<Self> {
        let output = Command::new(&python).args([RUN, ASK_VERSION]).output();
        let version = match output {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            }
            Ok(_) => return Err(missing(format!("no rknn-toolkit2 in {}", python.display()))),
            Err(error) => return Err(missing(format!("{} cannot be started: {error}", python.display()))),
        };
        if version != VERSION {
            return Err(missing(format!("rknn-toolkit2 {version} in {}", python.display())));
        }
        Ok(Self { python })
    }

    /// The interpreter of its environment.
    pub fn python(&self) -> &Path {
        &self.python
    }
}

fn missing(found: String) -> Error {
    Error::input(
        found,
        format!("rknn-toolkit2 {VERSION}, Rockchip's compiler"),
        format!("run `cargo xtask setup rknn`, or name the Python that has it in {VARIABLE}"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn python_that(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("python");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn another_version_or_none_names_the_set_up_command() {
        let dir = tempfile::tempdir().unwrap();
        for (script, part) in [("echo 2.3.2", "2.3.2"), ("exit 1", "no rknn-toolkit2 in")] {
            let error = Toolkit::at(python_that(dir.path(), script)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("cargo xtask setup rknn"), "{error}");
        }
        let error = Toolkit::at(dir.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
        Toolkit::at(python_that(dir.path(), "echo 2.5.0")).unwrap();
    }
}
