//! `toolchains/venv`: a Python environment with onnx and onnxruntime at pinned versions, for tests only.
//! The product itself never needs it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::system::{self, VENV};
use crate::unpack;
use crate::wheels::sha256_of;
use crate::workspace::{Workspace, run};

const REQUIREMENTS: &str = "toolchains/python-requirements.txt";
const STAMP: &str = "repedge-stamp";

/// Makes the environment, or returns at once where it is up to date. Gives its Python interpreter.
///
/// # Errors
/// When Python or its venv module is missing, or an installation fails.
pub fn provide(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.join("toolchains/venv");
    let requirements = workspace.join(REQUIREMENTS);
    let pins = fs::read(&requirements).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let stamp = sha256_of(&pins);
    let interpreter = folder.join("bin/python");
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp) && interpreter.exists() {
        return Ok(interpreter);
    }
    system::provide(&[VENV])?;
    if folder.exists() {
        // A virtual environment holds its own path, so it cannot be made beside and renamed: the stamp, written
        // last, tells a whole one from a broken one.
        let old = unpack::beside(&folder, "old");
        fs::rename(&folder, &old)
            .and_then(|()| fs::remove_dir_all(&old))
            .context("cannot remove the old venv")?;
    }
    eprintln!("making {} from {REQUIREMENTS}", folder.display());
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut install = Command::new(&interpreter);
    install.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--requirement",
    ]);
    run(install.arg(&requirements))?;
    fs::write(folder.join(STAMP), stamp).context("cannot stamp the venv")?;
    Ok(interpreter)
}
