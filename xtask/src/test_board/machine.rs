//! A virtual machine: qemu with a kernel and a first root, its serial line kept in a file and read until it ends.
//! A guest that takes too long is ended, and no qemu outlives the program that started it, however that ends.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::display::{Display, TAKEN};
use super::serial;
use crate::system::on_path;
use crate::workspace::display;

/// The emulator.
pub const QEMU: &str = "qemu-system-aarch64";
/// The machine that boards/qemu-virt describes. Without a network: what is tested needs none.
const MACHINE: [&str; 15] = [
    "-M",
    "virt",
    "-cpu",
    "cortex-a57",
    "-smp",
    "2",
    "-m",
    "512",
    "-display",
    "none",
    "-monitor",
    "none",
    "-nic",
    "none",
    "-no-reboot",
];
/// A panic restarts, and a restart ends qemu; the kernel's messages stay few once the guest runs.
const KERNEL_WORDS: &str = "console=ttyAMA0 panic=-1 rdinit=/sbin/init";
/// The second partition of the first disk, as our images have it.
const DISK_WORDS: &str = " root=/dev/vda2";
/// More than any guest has to say.
const LOG_LIMIT_BYTES: usize = 64 << 20;
/// Pieces of what a guest says, of 64 KiB at most, that wait to be read.
const CHUNKS: usize = 16;

/// A machine to start.
#[derive(Debug)]
pub struct Machine {
    /// The program and its arguments.
    command: Command,
    /// Where its serial line is kept.
    log: PathBuf,
    /// It is ended when it takes longer.
    time_limit: Duration,
    display: Option<Display>,
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// We ended it because it took too long.
    TimedOut,
    /// We ended it because it printed too much.
    Flooded,
}

/// A machine that ended, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The bytes of its serial line.
    pub log: Vec<u8>,
    /// The last picture of its display that the guest asked for, as a PPM file, or why there is none.
    pub picture: Option<Result<Vec<u8>, String>>,
    /// From its start until the guest's user space began, in seconds.
    pub boot_s: Option<f64>,
    /// From its start to its end, in seconds.
    pub total_s: f64,
}

/// The files that a machine boots.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Linux.
    pub kernel: PathBuf,
    /// Its first root.
    pub initramfs: PathBuf,
    /// A disk, where the first root is not all.
    pub disk: Option<Disk>,
}

/// A disk with a root on it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The disk's image.
    pub image: PathBuf,
    /// Whether what the guest writes there stays.
    pub writes: Writes,
}

/// What becomes of what a guest writes on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It stays in the image.
    Kept,
    /// It is gone with the machine.
    Dropped,
}

/// The command line that boots these files with the serial line on standard input and output.
pub fn qemu(boot: &Boot) -> Command {
    let mut command = Command::new(QEMU);
    command.args(MACHINE).args(["-serial", "stdio"]);
    command.arg("-kernel").arg(&boot.kernel).arg("-initrd").arg(&boot.initramfs);
    let mut words = KERNEL_WORDS.to_owned();
    if let Some(Disk { image, writes }) = &boot.disk {
        let snapshot = if *writes == Writes::Dropped { ",snapshot=on" } else { "" };
        let drive = format!("file={},format=raw,if=virtio{snapshot}", image.display());
        command.args(["-drive", &drive]);
        words.push_str(DISK_WORDS);
    }
    command.arg("-append").arg(words);
    command
}

/// A command as a shell takes it.
pub fn shell_line(command: &Command) -> String {
    let words =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy());
    let quoted = words.map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
        if word.chars().all(is_plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

impl Machine {
    /// A machine that runs `command`, a line as [`qemu`] gives it.
    pub fn new(command: Command, log: &Path, time_limit: Duration) -> Self {
        Self { command: ended_with_us(command), log: log.to_owned(), time_limit, display: None }
    }

    /// The same machine with a display, of which the guest may have pictures taken.
    pub fn with(mut self, display: Display) -> Self {
        display.plug_into(&mut self.command);
        Self { display: Some(display), ..self }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When qemu cannot be started or the log cannot be written.
    pub fn run(mut self) -> Result<Ended> {
        let shown = display(&self.command);
        let mut file =
            File::create(&self.log).with_context(|| format!("cannot make {}", self.log.display()))?;
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let child = self.command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        let mut running = Running { child };
        let output = running.child.stdout.take().context("qemu has no output")?;
        let mut input = running.child.stdin.take().context("qemu has no input")?;
        let chunks = chunks_of(output);
        let (mut said, mut picture) = (Said::since(started), None);
        let end = loop {
            let left = self.time_limit.saturating_sub(started.elapsed());
            match chunks.recv_timeout(left) {
                Ok(chunk) => {
                    file.write_all(&chunk).with_context(|| format!("cannot write {}", self.log.display()))?;
                    let asked = said.hear(&chunk);
                    if let Some(display) = self.display.as_ref().filter(|_| asked) {
                        picture = Some(display.photograph().map_err(|error| format!("{error:#}")));
                        // A guest that is gone is found by what it does not say.
                        let _ = input.write_all(TAKEN);
                    }
                    if said.log.len() > LOG_LIMIT_BYTES {
                        break End::Flooded;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break End::TimedOut,
                // It closed its output, so it is ending; what hangs even then is ended as well.
                Err(RecvTimeoutError::Disconnected) => break running.end_by(started + self.time_limit)?,
            }
        };
        let total_s = started.elapsed().as_secs_f64();
        Ok(Ended { end, log: said.log, picture, boot_s: said.boot_s, total_s })
    }
}

/// A child that does not outlive this value.
struct Running {
    child: Child,
}

impl Running {
    fn end_by(&mut self, deadline: Instant) -> Result<End> {
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for qemu")? {
                return Ok(End::Exited(status));
            }
            if Instant::now() >= deadline {
                return Ok(End::TimedOut);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was heard so far.
struct Said {
    log: Vec<u8>,
    /// Where the line begins that is under way.
    line_start: usize,
    boot_s: Option<f64>,
    started: Instant,
}

impl Said {
    fn since(started: Instant) -> Self {
        Self { log: Vec::new(), line_start: 0, boot_s: None, started }
    }

    /// Takes in what comes; says whether it asks for a picture of the display.
    fn hear(&mut self, chunk: &[u8]) -> bool {
        self.log.extend_from_slice(chunk);
        let new = &self.log[self.line_start..];
        let length = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = String::from_utf8_lossy(&new[..length]);
        self.line_start += length;
        if self.boot_s.is_none() {
            let is_ready = lines.lines().any(serial::is_ready);
            self.boot_s = is_ready.then(|| self.started.elapsed().as_secs_f64());
        }
        lines.lines().any(serial::asks_for_picture)
    }
}

/// A thread that passes on what comes, so that waiting for it can end. A guest that prints faster than we read waits, instead of
/// filling the memory.
fn chunks_of(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(CHUNKS);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The same command, which the kernel ends when we end, even by SIGKILL; by a program of util-linux, where it is there.
fn ended_with_us(command: Command) -> Command {
    if !on_path("setpriv") {
        return command;
    }
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    wrapped
}

#[cfg(test)]
mod tests;
