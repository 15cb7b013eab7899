//! Our own program as a child: a process of its own for what belongs to a process, such as peak memory and libtorch's
//! threads. Never decides what it is run for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The running program; on Linux it is found even when its file has been replaced by a newer build.
///
/// # Errors
/// [`Error::Artifact`] when the system does not tell which file that is.
pub fn own_program() -> Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_path_buf());
    }
    std::env::current_exe().map_err(|e| Error::io("the running program", e))
}

/// A command of `program`. Its idle threads sleep instead of spinning, because others may want the core.
pub(super) fn command(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(name).env("OMP_WAIT_POLICY", "passive").stdin(Stdio::null());
    command
}

/// Runs `command`, which writes one JSON document where its `--json=FILE` says; its standard error stays the caller's.
///
/// # Errors
/// [`Error::Backend`] when it fails or writes something else, an I/O error when there is no room for a temporary file.
pub(super) fn document<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let temporary = |e| Error::io(std::env::temp_dir(), e);
    let folder = tempfile::tempdir().map_err(temporary)?;
    let path = folder.path().join("result.json");
    let mut flag = OsString::from("--json=");
    flag.push(&path);
    let status = command.arg(flag).stdout(Stdio::null()).status().map_err(|e| cannot_start(&e))?;
    let told = || format!("{:?}", command.get_args().collect::<Vec<_>>());
    if !status.success() {
        return Err(failed(&format!("{}: {status}", told())));
    }
    let text = std::fs::read(&path).map_err(|e| failed(&format!("{} wrote no result: {e}", told())))?;
    serde_json::from_slice(&text).map_err(|e| failed(&format!("{} wrote no result: {e}", told())))
}

pub(super) fn cannot_start(error: &std::io::Error) -> Error {
    failed(&format!("train-host cannot start itself: {error}"))
}

fn failed(found: &str) -> Error {
    Error::backend(
        found,
        "a child process of train-host that does its part",
        "see what it printed above; where the system killed it, memory may have run out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_and_everything_else_is_an_error() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            // Its first argument is `--json=FILE`.
            command.args(["-c", &format!("file=${{0#--json=}}; {script}")]);
            document::<Vec<u8>>(&mut command)
        };
        assert_eq!(shell("echo '[1, 2]' > $file; echo noise").unwrap(), [1, 2]);
        assert!(shell("echo 1 > $file; exit 3").unwrap_err().to_string().contains("exit status: 3"));
        assert!(shell("echo none > $file").unwrap_err().to_string().contains("no result"));
        assert!(shell("exit 0").unwrap_err().to_string().contains("no result"));
        assert!(document::<u8>(&mut Command::new("no such program")).is_err());
    }

    #[test]
    fn the_running_program_is_there() {
        assert!(own_program().unwrap().exists());
    }
}
