//! JSON lines that hold up nobody: written by a thread of their own. What waits for a reader that does not keep up is bounded;
//! the lines beyond are left out, each of which counts as a failure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use artifact::Fault;

use super::{LINE_BYTES, Lines, format_line};
use crate::Error;
use crate::sink::desk::Desk;
use crate::sink::trouble::Trouble;
use crate::sink::{Health, Pixels, Shown, Sink};

/// Lines that wait: a second or two of a camera's frames.
const MAX_WAITING: usize = 64;
/// How long what waits may still be written at the end. A reader that has stopped reading is not waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Lines on their way; see [`Lines::aside`].
pub struct LinesAside {
    queue: Arc<Queue>,
    description: String,
}

#[derive(Default)]
struct Queue {
    desk: Desk<Waiting>,
    trouble: Trouble,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Memory of lines that were written.
    spare: Vec<Vec<u8>>,
    /// Whether lines were left out since all that waited was written.
    is_behind: bool,
    /// Whether the thread has ended.
    is_done: bool,
}

impl LinesAside {
    /// Writes to what `lines` writes to.
    pub(super) fn new(mut lines: Lines) -> Result<Self, Error> {
        let (queue, description) = (Arc::new(Queue::default()), lines.describe());
        let shared = Arc::clone(&queue);
        // Not joined: it may wait for its reader for ever.
        crate::sink::open::spawn("repedge-lines", move || shared.serve(&mut lines))?;
        Ok(Self { queue, description })
    }
}

impl Sink for LinesAside {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let Some(mut line) = self.queue.desk.with(Waiting::room) else {
            return Err(Error::Input(Fault::new(
                format!("{}: {MAX_WAITING} lines wait to be read", self.description),
                "a reader that keeps up",
                "read faster, or ask for fewer frames; lines are left out until those that wait are read",
            )));
        };
        format_line(shown, &mut line);
        self.queue.desk.bring(|waiting| waiting.lines.push_back(line));
        self.queue.trouble.check()
    }

    fn pixels(&self) -> Pixels {
        Pixels::Unneeded
    }

    fn health(&self) -> Health {
        let is_behind = self.queue.desk.with(|waiting| waiting.is_behind);
        if is_behind { Health::Troubled } else { self.queue.trouble.health() }
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

impl Drop for LinesAside {
    fn drop(&mut self) {
        self.queue.desk.close();
        self.queue.desk.wait_until(|waiting| waiting.is_done, FAREWELL);
    }
}

impl Waiting {
    /// Memory for another line, if one more may wait.
    fn room(&mut self) -> Option<Vec<u8>> {
        if self.lines.len() >= MAX_WAITING {
            self.is_behind = true;
            return None;
        }
        Some(self.spare.pop().unwrap_or_else(|| Vec::with_capacity(LINE_BYTES)))
    }
}

impl Queue {
    /// Writes what comes until it is over.
    fn serve(&self, lines: &mut Lines) {
        while let Some(line) = self.desk.take(|waiting| waiting.lines.pop_front()) {
            let written = lines.write(&line);
            let is_empty = self.desk.with(|waiting| {
                waiting.spare.push(line);
                let is_empty = waiting.lines.is_empty();
                waiting.is_behind &= !is_empty || written.is_err();
                is_empty
            });
            match written {
                Ok(()) if is_empty => self.trouble.is_over(),
                Ok(()) => {}
                Err(error) => self.trouble.tell(error),
            }
        }
        self.desk.bring(|waiting| waiting.is_done = true);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Condvar, Mutex};

    use super::super::tests::show;
    use super::*;

    /// A reader that reads while it is open.
    #[derive(Clone, Default)]
    struct Reader {
        is_open: Arc<(Mutex<bool>, Condvar)>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Reader {
        fn set_open(&self, is_open: bool) {
            *self.is_open.0.lock().unwrap() = is_open;
            self.is_open.1.notify_all();
        }

        /// Numbers of the frames that it read lines of.
        fn frames(&self) -> Vec<u64> {
            let text = String::from_utf8(self.read.lock().unwrap().clone()).unwrap();
            let number =
                |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["frame"].as_u64();
            text.lines().map(|line| number(line).unwrap()).collect()
        }
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut is_open = self.is_open.0.lock().unwrap();
            while !*is_open {
                is_open = self.is_open.1.wait(is_open).unwrap();
            }
            drop(is_open);
            self.read.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_line_is_lost_while_the_reader_keeps_up() {
        let reader = Reader::default();
        reader.set_open(true);
        let mut lines = Lines::new("pipe", Box::new(reader.clone())).aside().unwrap();
        for number in 0..1000 {
            // As much as may wait is read before more comes.
            while lines.queue.desk.with(|waiting| waiting.lines.len()) >= MAX_WAITING {
                std::thread::yield_now();
            }
            show(&mut lines, number).unwrap();
        }
        assert_eq!(lines.health(), Health::Sound);
        drop(lines);
        assert_eq!(reader.frames(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_stops_costs_its_own_lines_only_and_each_is_counted() {
        let reader = Reader::default();
        let mut lines = Lines::new("pipe", Box::new(reader.clone())).aside().unwrap();
        let frames = 3 * MAX_WAITING as u64;
        let failed = (0..frames).filter(|number| show(&mut lines, *number).is_err()).count();
        // One may be at the writer.
        assert!((2 * MAX_WAITING - 1..=2 * MAX_WAITING).contains(&failed), "{failed}");
        assert_eq!(lines.health(), Health::Troubled);
        reader.set_open(true);
        while lines.health() == Health::Troubled {
            std::thread::yield_now();
        }
        show(&mut lines, frames).unwrap();
        drop(lines);
        let read = reader.frames();
        assert_eq!(read.len(), 3 * MAX_WAITING - failed + 1);
        assert!(read.is_sorted() && read.last() == Some(&frames), "{read:?}");
    }

    #[test]
    fn a_reader_that_never_reads_does_not_hold_up_the_end() {
        let reader = Reader::default();
        let mut lines = Lines::new("pipe", Box::new(reader.clone())).aside().unwrap();
        show(&mut lines, 0).unwrap();
        drop(lines);
        reader.set_open(true);
    }
}
