//! Python environments at pinned versions, each in a folder of its own below `toolchains`: one judges our models and
//! figures in tests, one holds Rockchip's compiler. The product needs neither to train, and to run models on CPUs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::system::{self, VENV};
use crate::unpack;
use crate::wheels::sha256_of;
use crate::workspace::{Workspace, capture, run};

const STAMP: &str = "repedge-stamp";

/// A Python environment that we make.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    /// Where it lies in the workspace.
    folder: &'static str,
    /// The file in the workspace that pins its packages.
    pub requirements: &'static str,
    /// What pip is told beside that.
    flags: &'static [&'static str],
    /// The Python it has to be made with; any where that is none.
    python: Option<&'static str>,
}

/// onnx and onnxruntime, for tests.
pub const TESTS: Environment = Environment {
    folder: "toolchains/venv",
    requirements: "toolchains/python-requirements.txt",
    flags: &[],
    python: None,
};

/// The engines that ours is timed against. pnnx's dependencies, gigabytes of torch, are not needed to convert ONNX.
pub const ENGINES: Environment = Environment {
    folder: "toolchains/engines",
    requirements: "toolchains/engines-requirements.txt",
    flags: &["--no-deps"],
    python: None,
};

/// The processor that kernels for AVX-512 and VNNI are tested on.
pub const EMULATOR: Environment = Environment {
    folder: "toolchains/emulator",
    requirements: "toolchains/emulator-requirements.txt",
    flags: &["--no-deps"],
    python: None,
};

/// rknn-toolkit2. Its dependencies are pinned by us, because those it names include gigabytes that it does not use.
pub const RKNN: Environment = Environment {
    folder: "toolchains/rknn",
    requirements: "toolchains/rknn-requirements.txt",
    flags: &["--no-deps"],
    python: Some("3.11"),
};

impl Environment {
    /// Makes the environment, or returns at once where it is up to date. Gives its Python interpreter.
    ///
    /// # Errors
    /// When Python or its venv module is missing, or an installation fails.
    pub fn provide(&self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = workspace.join(self.folder);
        let requirements = workspace.join(self.requirements);
        let interpreter = folder.join("bin/python");
        if self.is_there(workspace) && interpreter.exists() {
            return Ok(interpreter);
        }
        let pins = fs::read(&requirements).with_context(|| format!("cannot read {}", self.requirements))?;
        system::provide(&[VENV])?;
        let python = self.base_python()?;
        discard(&folder)?;
        eprintln!("making {} from {}", folder.display(), self.requirements);
        run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
        let mut install = Command::new(&interpreter);
        install.args(["-m", "pip", "install", "--disable-pip-version-check"]);
        // Nothing comes in that is not pinned to the byte, and nothing is built from source.
        install.args(["--only-binary=:all:", "--require-hashes"]);
        run(install.args(self.flags).arg("--requirement").arg(&requirements))?;
        fs::write(folder.join(STAMP), sha256_of(&pins)).context("cannot stamp the environment")?;
        Ok(interpreter)
    }

    /// Whether it is there, whole and of the pinned versions.
    pub fn is_there(&self, workspace: &Workspace) -> bool {
        let pins = fs::read(workspace.join(self.requirements)).map(|pins| sha256_of(&pins));
        let stamp = fs::read_to_string(workspace.join(self.folder).join(STAMP));
        pins.is_ok_and(|pins| stamp.is_ok_and(|stamp| stamp == pins))
    }

    /// The program to make it with: `python3` where that has the right version, else `python3.N`.
    fn base_python(&self) -> Result<String> {
        let Some(version) = self.python else { return Ok("python3".into()) };
        for program in ["python3".to_owned(), format!("python{version}")] {
            let mut ask = Command::new(&program);
            ask.args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
            if capture(&mut ask).is_ok_and(|found| found.trim() == version) {
                return Ok(program);
            }
        }
        bail!(
            "no Python {version}, which {} is pinned for: install python{version} and its venv module",
            self.requirements
        )
    }
}

/// Removes what is left of an older environment. It holds its own path, so it cannot be made beside and renamed: the
/// stamp, written last, tells a whole one from a broken one.
fn discard(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let old = unpack::beside(folder, "old");
    fs::rename(folder, &old)
        .and_then(|()| fs::remove_dir_all(&old))
        .with_context(|| format!("cannot remove the old {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requirements of a file, each with its hashes, without comments.
    fn requirements(environment: &Environment) -> Vec<String> {
        let file = Workspace::find().unwrap().join(environment.requirements);
        let text = fs::read_to_string(file).unwrap().replace("\\\n", " ");
        text.lines().filter(|line| !line.starts_with('#')).map(String::from).collect()
    }

    #[test]
    fn every_package_is_pinned_to_a_version_and_hashes() {
        for environment in [TESTS, ENGINES, EMULATOR, RKNN] {
            for requirement in requirements(&environment) {
                let (package, hashes) =
                    requirement.split_once("--hash=sha256:").unwrap_or_else(|| panic!("{requirement}"));
                assert!(package.contains("=="), "{requirement}");
                for hash in hashes.split("--hash=sha256:").map(str::trim) {
                    let is_digest = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
                    assert!(is_digest, "{package}: {hash:?}");
                }
            }
        }
    }

    #[test]
    fn an_environment_of_the_pinned_versions_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(TESTS.requirements, "x==1");
        assert!(!TESTS.is_there(&workspace));
        // No Python, and nothing that could be started: it can only have been left as it is.
        put("toolchains/venv/bin/python", "");
        put("toolchains/venv/repedge-stamp", &sha256_of(b"x==1"));
        assert_eq!(TESTS.provide(&workspace).unwrap(), folder.path().join("toolchains/venv/bin/python"));
        put(TESTS.requirements, "x==2");
        assert!(!TESTS.is_there(&workspace), "another pin is not noticed");
    }
}
