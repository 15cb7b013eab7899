//! The display of a guest: a virtio GPU without a window, and qemu's monitor, which takes a picture of what it shows when the
//! guest asks for one. It judges no picture.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the guest reads once its picture is taken.
pub const TAKEN: &[u8] = b"taken\n";
/// A monitor that says nothing for so long has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A display, and where its pictures are kept.
#[derive(Debug)]
pub struct Display {
    /// Of its own and short: the name of a socket has little room.
    folder: TempDir,
    picture: PathBuf,
}

impl Display {
    /// A display whose newest picture is kept as `picture`.
    ///
    /// # Errors
    /// When there is no place for the monitor's socket.
    pub fn new(picture: &Path) -> Result<Self> {
        // That of an earlier machine would pass for this one's.
        let _ = fs::remove_file(picture);
        let folder = tempfile::tempdir().context("cannot make a folder for qemu's monitor")?;
        Ok(Self { folder, picture: picture.to_owned() })
    }

    /// Adds the display to the command line of a machine.
    pub fn plug_into(&self, command: &mut Command) {
        let monitor = format!("unix:{},server=on,wait=off", self.socket().display());
        command.args(["-device", "virtio-gpu-pci", "-qmp", &monitor]);
    }

    /// Takes a picture of what is shown now, as bytes of a PPM file.
    ///
    /// # Errors
    /// When qemu does not answer, or refuses.
    pub fn photograph(&self) -> Result<Vec<u8>> {
        let mut monitor = Monitor::connect(&self.socket()).context("qemu's monitor does not answer")?;
        monitor.ask("qmp_capabilities", &json!({}))?;
        let path = self.picture.to_str().context("a picture's path that is no text")?;
        monitor.ask("screendump", &json!({ "filename": path }))?;
        fs::read(&self.picture).with_context(|| format!("cannot read {}", self.picture.display()))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }
}

/// A connection to qemu's monitor, which speaks one JSON object a line.
struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects, and reads the greeting.
    fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        monitor.hear()?;
        Ok(monitor)
    }

    /// Sends a command and waits until it is done.
    fn ask(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{line}").with_context(|| format!("cannot send {line}"))?;
        loop {
            let answer = self.hear().with_context(|| format!("qemu's monitor did not answer {line}"))?;
            if let Some(error) = answer.get("error") {
                bail!("qemu's monitor answered {line} with {error}, expected \"return\"");
            }
            // Events come in between.
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{line:?} is no JSON"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A monitor that gives these answers, whatever it is asked; and what a display of its says.
    fn played(answers: &'static [&str], picture: &Path) -> Result<Vec<u8>> {
        let display = Display::new(picture).unwrap();
        let listener = UnixListener::bind(display.socket()).unwrap();
        let monitor = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
            writeln!(&stream, r#"{{"QMP": {{}}}}"#).unwrap();
            for answer in answers {
                // As qemu does it: the picture is there before the answer is.
                let asked = asked.next().unwrap().unwrap();
                let asked: Value = serde_json::from_str(&asked).unwrap();
                if let Some(path) =
                    asked["arguments"]["filename"].as_str().filter(|_| answer.contains("return"))
                {
                    fs::write(path, "P6").unwrap();
                }
                writeln!(&stream, "{answer}").unwrap();
            }
        });
        let taken = display.photograph();
        monitor.join().unwrap();
        taken
    }

    #[test]
    fn a_picture_is_taken_between_events() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "of an earlier machine").unwrap();
        let answers = &[r#"{"return": {}}"#, "{\"event\": \"RESUME\"}\n{\"return\": {}}"];
        assert_eq!(played(answers, file.path()).unwrap(), b"P6");
    }

    #[test]
    fn a_refusal_and_a_hang_up_are_told() {
        let nowhere = Path::new("no-such-folder/display.ppm");
        let refused = played(&[r#"{"return": {}}"#, r#"{"error": {"desc": "no console"}}"#], nowhere);
        assert!(format!("{:#}", refused.unwrap_err()).contains("no console"));
        // Whether sending or hearing fails depends on who is faster.
        let gone = format!("{:#}", played(&[r#"{"return": {}}"#], nowhere).unwrap_err());
        assert!(gone.contains("screendump"), "{gone}");
    }
}
