//! Our own program as a child: a process of its own for what belongs to a process, such as peak memory and libtorch's
//! threads. Never decides what it is run for.

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

/// Runs `command`, whose standard output is one JSON document; its standard error stays the caller's.
///
/// # Errors
/// [`Error::Backend`] when it fails or prints something else.
pub(super) fn document<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output =
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).output().map_err(|e| cannot_start(&e))?;
    if !output.status.success() {
        return Err(failed(&format!("{:?}: {}", command.get_args().collect::<Vec<_>>(), output.status)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| failed(&format!("{:?} printed no result: {e}", command.get_args().collect::<Vec<_>>())))
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
            command.args(["-c", script]);
            document::<Vec<u8>>(&mut command)
        };
        assert_eq!(shell("echo '[1, 2]'").unwrap(), [1, 2]);
        assert!(shell("echo 1; exit 3").unwrap_err().to_string().contains("exit status: 3"));
        assert!(shell("echo none").unwrap_err().to_string().contains("no result"));
        assert!(document::<u8>(&mut Command::new("no such program")).is_err());
    }

    #[test]
    fn the_running_program_is_there() {
        assert!(own_program().unwrap().exists());
    }
}
