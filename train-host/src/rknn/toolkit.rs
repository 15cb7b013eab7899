//! Where rknn-toolkit2 lies, which version it is, and which packages it has beside it. It lives in a Python environment of its own, because its pins fit
//! nothing else. Looks only: `cargo xtask setup rknn` makes the environment.

use std::env;
use std::io::{Error as IoError, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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
/// The packages that models are compiled with, pinned.
const REQUIREMENTS: &str = include_str!("../../../toolchains/rknn-requirements.txt");
/// Prints the versions of the packages named, without importing them: that takes seconds.
const ASK_VERSIONS: &str = "import importlib.metadata as m, sys
for name in sys.argv[1:]:
    try:
        print(name, m.version(name))
    except m.PackageNotFoundError:
        print(name, 'none')";

/// Longer than a Python takes to say that, on a busy machine.
const PATIENT: Duration = Duration::from_secs(120);
/// Time between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An rknn-toolkit2 that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolkit {
    python: PathBuf,
}

impl Toolkit {
    /// Finds it: by the variable [`VARIABLE`], else in the checkout around the current folder or around this program.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none, or one with packages of other versions.
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

    /// The one that `python` imports, with the other packages that are pinned beside it: all of them decide what is
    /// compiled, and the build record tells them.
    ///
    /// # Errors
    /// [`Error::Input`] as [`Toolkit::find`].
    pub fn at(python: PathBuf) -> Result<Self> {
        Self::answering_within(PATIENT, python)
    }

    fn answering_within(limit: Duration, python: PathBuf) -> Result<Self> {
        let found = match versions(&python, limit) {
            Ok(Some(found)) => found,
            Ok(None) => return Err(missing(format!("no rknn-toolkit2 in {}", python.display()))),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Err(missing(format!(
                    "{} did not tell its packages' versions within {} s",
                    python.display(),
                    limit.as_secs()
                )));
            }
            Err(error) => return Err(missing(format!("{} cannot be started: {error}", python.display()))),
        };
        let others = others(&found);
        if others.is_empty() { Ok(Self { python }) } else { Err(other_packages(&python, &others)) }
    }

    /// The interpreter of its environment.
    pub fn python(&self) -> &Path {
        &self.python
    }
}

/// What `python` says of the versions of the pinned packages; none where it fails. One that does not end is ended.
fn versions(python: &Path, limit: Duration) -> std::io::Result<Option<String>> {
    // No pipe, which somebody that it has started could keep open.
    let mut said = tempfile::tempfile()?;
    let mut command = Command::new(python);
    command.args([RUN, ASK_VERSIONS]).args(packages().map(|(name, _)| name));
    let mut child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(Stdio::null()).spawn()?;
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(LOOK_AGAIN),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(IoError::from(ErrorKind::TimedOut));
            }
        }
    };
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok(status.success().then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The pinned packages, rknn-toolkit2 among them, each with its version.
pub fn packages() -> impl Iterator<Item = (&'static str, &'static str)> {
    wheels().filter_map(|line| line.split_once(' ')?.0.split_once("=="))
}

/// The lines of the pins: each a package, its version and the digest of its wheel.
pub(super) fn wheels() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Packages that `found`, lines of a name and a version, has in another version than the pinned one.
fn others(found: &str) -> Vec<String> {
    let version_of = |name: &str| {
        found
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(other, _)| *other == name))
            .map(|(_, v)| v)
    };
    let other = |(name, pinned): (&str, &str)| {
        let version = version_of(name).unwrap_or("none");
        (version != pinned).then(|| format!("{name} {version} instead of {pinned}"))
    };
    packages().filter_map(other).collect()
}

fn other_packages(python: &Path, others: &[String]) -> Error {
    missing(format!("{} in {}", others.join(", "), python.display()))
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
        let pinned: String = packages().map(|(name, version)| format!("{name} {version}\n")).collect();
        let tells = |text: &str| format!("cat <<'END'\n{text}END");
        let older = pinned.replace("rknn-toolkit2 2.5.0", "rknn-toolkit2 2.3.2");
        let [other, without] =
            ["numpy 2.0.0", "numpy none"].map(|found| pinned.replace("numpy 1.26.4", found));
        for (script, part) in [
            (tells(&older).as_str(), "rknn-toolkit2 2.3.2 instead of 2.5.0"),
            (&tells(&other), "numpy 2.0.0 instead of 1.26.4"),
            (&tells(&without), "numpy none"),
            ("exit 0", "rknn-toolkit2 none"),
            ("exit 1", "no rknn-toolkit2 in"),
        ] {
            let error = Toolkit::at(python_that(dir.path(), script)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("cargo xtask setup rknn"), "{error}");
        }
        let error = Toolkit::at(dir.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
        Toolkit::at(python_that(dir.path(), &tells(&pinned))).unwrap();
    }

    #[test]
    fn a_python_that_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let python = python_that(dir.path(), "exec sleep 600");
        let error = Toolkit::answering_within(Duration::from_secs(1), python).unwrap_err().to_string();
        assert!(error.contains("versions within 1 s") && error.contains(VARIABLE), "{error}");
    }

    #[test]
    fn every_pin_is_read() {
        assert!(packages().any(|(name, version)| (name, version) == ("rknn-toolkit2", VERSION)));
        assert_eq!(packages().count(), wheels().count());
    }
}
