//! JSON lines: one document a frame, to a file or to standard output. A line that a full disk cut short is ended before the
//! next one. [`Lines`] are written where frames are shown, so that none is lost and a reader that stops holds up the rest;
//! [`LinesAside`] by a thread of their own.

mod aside;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::detections::Detections;
use super::{Pixels, Shown, Sink};
use crate::{Error, StageTimes};

pub use aside::LinesAside;

/// Room for the lines of most frames.
const LINE_BYTES: usize = 4096;

/// What was found on a frame.
#[derive(Debug, Serialize)]
struct Line<'a> {
    frame: u64,
    /// The frame's number in its source, where what is lost counts too.
    source_frame: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    image: &'a str,
    width_px: usize,
    height_px: usize,
    detections: Detections<'a>,
    times: StageTimes,
}

impl<'a> From<&Shown<'a>> for Line<'a> {
    fn from(shown: &Shown<'a>) -> Self {
        let times = &shown.times;
        Self {
            frame: shown.number,
            source_frame: shown.shot.number,
            image: &shown.shot.name,
            width_px: shown.shot.width_px,
            height_px: shown.shot.height_px,
            detections: Detections { objects: shown.objects, classes: shown.classes },
            times: StageTimes {
                preprocess_us: times.preprocess_us,
                inference_us: times.inference_us,
                decode_us: times.decode_us,
            },
        }
    }
}

/// Writes a line for each frame, in place: who shows frames waits until each is written. For runs in which no line may be
/// missing, such as those over files; for others, see [`Lines::aside`].
pub struct Lines {
    /// Stands for where the lines go, where an error names it.
    place: PathBuf,
    out: Box<dyn Write + Send>,
    text: Vec<u8>,
    /// Whether what was written last ends within a line.
    is_cut: bool,
}

impl Lines {
    /// Lines in a file, after those that it holds: a program that is started again erases nothing of what it found before.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the file cannot be opened or created.
    pub fn append(path: &Path) -> Result<Self, Error> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|e| artifact::Error::io(path, e))?;
        Ok(Self { is_cut: is_cut(path), ..Self::new(path, Box::new(file)) })
    }

    /// Lines to `out`, which errors call `place`.
    pub fn new(place: impl Into<PathBuf>, out: Box<dyn Write + Send>) -> Self {
        Self { place: place.into(), out, text: Vec::with_capacity(LINE_BYTES), is_cut: false }
    }

    /// The same lines, written by a thread of their own: a reader that stops holds up nobody. The lines that it does not keep up
    /// with are left out and counted as failures.
    ///
    /// # Errors
    /// [`Error::Input`] when the system gives no thread.
    pub fn aside(self) -> Result<LinesAside, Error> {
        LinesAside::new(self)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        self.try_write(line).map_err(|e| artifact::Error::io(&self.place, e).into())
    }

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_cut {
            self.out.write_all(b"\n")?;
        }
        self.is_cut = true;
        self.out.write_all(line)?;
        self.out.flush()?;
        self.is_cut = false;
        Ok(())
    }
}

/// Whether a file ends within a line, as when the power failed; not so where it cannot be read, or is none.
fn is_cut(path: &Path) -> bool {
    // Opening a pipe for reading would make us the reader for which a writer waits.
    path.metadata().is_ok_and(|data| data.is_file() && data.len() > 0)
        && last_byte(path).is_ok_and(|last| last != b'\n')
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let (mut file, mut last) = (File::open(path)?, [0]);
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

/// Makes `text` the line of a frame.
fn format_line(shown: &Shown<'_>, text: &mut Vec<u8>) {
    text.clear();
    // Numbers and text are always JSON, and memory takes all that is written.
    let _ = serde_json::to_writer(&mut *text, &Line::from(shown));
    text.push(b'\n');
}

impl Sink for Lines {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let mut text = std::mem::take(&mut self.text);
        format_line(shown, &mut text);
        let written = self.write(&text);
        self.text = text;
        written
    }

    fn pixels(&self) -> Pixels {
        Pixels::Unneeded
    }

    fn describe(&self) -> String {
        format!("JSON lines to {}", self.place.display())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::Detection;
    use crate::sink::{FrameTimes, Object, Vitals};
    use crate::source::Shot;

    /// A disk with room for so many bytes more.
    #[derive(Clone, Default)]
    struct Disk {
        room: Arc<Mutex<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.room.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken;
            self.written.lock().unwrap().extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn show(lines: &mut dyn Sink, number: u64) -> Result<(), Error> {
        let shot = Shot { number: number + 10, width_px: 4, height_px: 2, ..Shot::default() };
        let detection = Detection { class: 1, score: 0.5, x0: 0.0, y0: 1.0, x1: 2.0, y1: 3.0 };
        let objects = [Object { track: Some(7), detection }, Object { track: None, detection }];
        let classes = ["red".to_owned(), "blue".to_owned()];
        let times = FrameTimes { preprocess_us: 1, inference_us: 2, decode_us: 3, ..FrameTimes::default() };
        let vitals = Vitals::default();
        let (objects, classes) = (&objects, &classes);
        lines.show(&Shown { number, shot: &shot, objects, found: &[], classes, times, vitals })
    }

    const FIRST: &str = r#"{"frame":0,"source_frame":10,"width_px":4,"height_px":2,"detections":[{"track":7,"class":1,"name":"blue","score":0.5,"box_px":[0.0,1.0,2.0,3.0]},{"class":1,"name":"blue","score":0.5,"box_px":[0.0,1.0,2.0,3.0]}],"times":{"preprocess_us":1,"inference_us":2,"decode_us":3}}"#;

    #[test]
    fn a_line_says_what_was_found() {
        let disk = Disk::default();
        *disk.room.lock().unwrap() = 10_000;
        show(&mut Lines::new("out", Box::new(disk.clone())), 0).unwrap();
        assert_eq!(String::from_utf8(disk.written.lock().unwrap().clone()).unwrap(), format!("{FIRST}\n"));
    }

    #[test]
    fn lines_come_after_those_of_an_earlier_start_also_where_its_last_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        for _ in 0..2 {
            show(&mut Lines::append(&path).unwrap(), 0).unwrap();
        }
        let whole = format!("{FIRST}\n{FIRST}\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        std::fs::write(&path, "{\"frame\"").unwrap();
        show(&mut Lines::append(&path).unwrap(), 0).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{{\"frame\"\n{FIRST}\n"));
    }

    #[test]
    fn a_line_cut_short_costs_itself_only() {
        let disk = Disk::default();
        let mut lines = Lines::new("out.jsonl", Box::new(disk.clone()));
        *disk.room.lock().unwrap() = FIRST.len() + 9;
        show(&mut lines, 0).unwrap();
        let error = show(&mut lines, 1).unwrap_err().to_string();
        assert!(error.starts_with("out.jsonl: "), "{error}");
        *disk.room.lock().unwrap() = 10_000;
        show(&mut lines, 2).unwrap();
        let text = String::from_utf8(disk.written.lock().unwrap().clone()).unwrap();
        let all: Vec<&str> = text.lines().collect();
        assert_eq!((all.len(), all[0], all[1]), (3, FIRST, "{\"frame\""));
        assert!(all[2].starts_with("{\"frame\":2,"));
    }
}
