//! Runs scripts on a board through the user's ssh client: keys, agents, jump hosts and passwords stay its business.
//! One connection is opened and shared by all scripts, so that a password is asked for once.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Exit code with which ssh says that the connection, not the script, failed.
const CONNECTION_FAILED: i32 = 255;
const CHUNK_BYTES: usize = 64 << 10;

/// What a script ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it complained.
    pub err: String,
}

/// Something that runs POSIX shell scripts on a board.
pub trait Shell {
    /// Runs a script with bytes on its standard input.
    ///
    /// # Errors
    /// When the board cannot be reached, or not any more. A script that fails is an answer.
    fn run(&mut self, script: &str, input: &mut dyn Read) -> Result<Answer>;
}

/// A board that is reached with ssh.
#[derive(Debug)]
pub struct Ssh {
    destination: String,
    config: Option<PathBuf>,
    // Holds the socket of the shared connection.
    folder: tempfile::TempDir,
}

impl Ssh {
    /// Connects; `config` stands in for the user's `~/.ssh/config`.
    ///
    /// # Errors
    /// When ssh is missing or cannot log in; says what ssh said.
    pub fn connect(destination: &str, config: Option<&Path>) -> Result<Self> {
        ensure!(
            !destination.is_empty() && !destination.starts_with('-'),
            "{destination:?} is no destination of ssh: expected USER@HOST"
        );
        let folder = tempfile::Builder::new().prefix("repedge-ssh-").tempdir()?;
        let ssh = Self { destination: destination.to_owned(), config: config.map(Path::to_owned), folder };
        let mut command = ssh.command();
        command.args(["-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-N", "-f", "--"]);
        let status = command.arg(destination).stdin(Stdio::null()).stdout(Stdio::null()).status();
        let status = status.context("cannot start ssh (`sudo apt-get install openssh-client`)")?;
        ensure!(
            status.success(),
            "ssh cannot log in to {destination} ({status}); nothing was changed\n  help: `ssh {destination} true` must work"
        );
        Ok(ssh)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        let socket = self.folder.path().join("socket");
        command.arg("-o").arg(format!("ControlPath={}", socket.display()));
        // A cable that is pulled sends no goodbye.
        command.args([
            "-o",
            "ConnectTimeout=10",
            "-o",
            "ServerAliveInterval=5",
            "-o",
            "ServerAliveCountMax=3",
        ]);
        command
    }

    fn spawn(&self, script: &str) -> Result<Child> {
        let mut command = self.command();
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-T", "--", &self.destination]);
        // The board's login shell may be any; it sees one quoted word for its `sh`.
        command.arg(format!("sh -c {}", quoted(script)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot start ssh")
    }
}

impl Shell for Ssh {
    fn run(&mut self, script: &str, input: &mut dyn Read) -> Result<Answer> {
        let mut child = self.spawn(script)?;
        let sent = child.stdin.take().map_or(Ok(()), |mut pipe| send(input, &mut pipe));
        let output = child.wait_with_output().context("cannot wait for ssh")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let (out, err) = (text(output.stdout), text(output.stderr));
        let code = output.status.code().unwrap_or(CONNECTION_FAILED);
        ensure!(code != CONNECTION_FAILED, "the connection to {} was lost: {err}", self.destination);
        // A script that fails stops reading; what it says about that is worth more than the broken pipe.
        if code == 0 {
            sent.context("cannot send to the board")?;
        }
        Ok(Answer { code, out, err })
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let mut command = self.command();
        command.args(["-O", "exit", "--", &self.destination]).stderr(Stdio::null()).stdout(Stdio::null());
        // Without it the connection ends with the network's patience; nothing depends on it.
        let _ = command.status();
    }
}

fn send(input: &mut dyn Read, pipe: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match input.read(&mut buffer)? {
            0 => return pipe.flush(),
            count => pipe.write_all(&buffer[..count])?,
        }
    }
}

/// A word that every shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_reach_a_shell_as_they_are() {
        let word = "a 'b' $c \"d\" `e` \\ \n f";
        let mut command = Command::new("sh");
        let output = command.arg("-c").arg(format!("printf %s {}", quoted(word))).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }

    #[test]
    fn an_option_is_no_destination() {
        assert!(Ssh::connect("-oProxyCommand=x", None).unwrap_err().to_string().contains("no destination"));
    }
}
