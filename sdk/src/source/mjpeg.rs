//! Motion JPEG files (`.mjpeg`): JPEG images one after the other, as cameras and `ffmpeg -f mjpeg` write them. A damaged
//! image costs itself, not those behind it, and one of other sides than the first is taken for damaged. File and pictures are read
//! into memory that is used again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reel::Reel;
use super::{Arrival, Rewound, Shot, Source, unpack, unreadable};
use crate::Error;
use crate::frame::jpeg::{self, End, Motion, Sides};

/// Bytes read at a time.
const CHUNK: usize = 1 << 16;
/// No image of a camera is larger.
const MAX_IMAGE: usize = 1 << 26;

/// A file of video, which does not say how fast it was filmed: it counts as 30 frames a second.
#[derive(Debug)]
pub struct MjpegFile {
    path: PathBuf,
    file: File,
    /// What was read and not used yet.
    pending: Vec<u8>,
    /// What of it the last image took.
    used: usize,
    /// What images may be: as the first one that could be decoded.
    sides: Sides,
    motion: Motion,
    is_read: bool,
    next: u64,
    reel: Reel,
}

impl MjpegFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| unreadable(path, &e))?;
        Ok(Self {
            path: path.into(),
            file,
            pending: Vec::new(),
            used: 0,
            sides: Sides::Video,
            motion: Motion::default(),
            is_read: false,
            next: 0,
            reel: Reel::default(),
        })
    }

    /// Brings the next image to the beginning of `pending` and gives its length; none at the end of the file.
    fn find(&mut self) -> Result<Option<Found>, Error> {
        self.pending.drain(..self.used);
        self.used = 0;
        loop {
            let skipped = jpeg::start(&self.pending);
            self.pending.drain(..skipped);
            match jpeg::end(&self.pending) {
                End::Whole(length) => return Ok(Some(Found::Image(length))),
                End::Cut(length) => return Ok(Some(Found::Cut(length))),
                End::Open => {}
            }
            if self.pending.len() > MAX_IMAGE {
                return Ok(Some(Found::Endless));
            }
            if self.is_read {
                // Fewer bytes than a mark are the rest of what was passed over.
                return Ok((self.pending.len() >= 2).then_some(Found::Last));
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), Error> {
        let before = self.pending.len();
        self.pending.resize(before + CHUNK, 0);
        let read = self.file.read(&mut self.pending[before..]).map_err(|e| unreadable(&self.path, &e))?;
        self.pending.truncate(before + read);
        self.is_read = read == 0;
        Ok(())
    }
}

/// What stands at the beginning of what was read.
enum Found {
    /// An image of so many bytes.
    Image(usize),
    /// What is there of one, so many bytes.
    Cut(usize),
    /// One that does not end before the file does.
    Last,
    /// One that does not end.
    Endless,
}

impl Source for MjpegFile {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        let Some(found) = self.find()? else { return Ok(Arrival::Ended) };
        shot.number = self.next;
        shot.filmed_at = Some(self.reel.advance());
        shot.name.clear();
        self.next += 1;
        let number = shot.number;
        match found {
            Found::Cut(length) => {
                self.used = length;
                Ok(Arrival::Broken(format!("frame {number} has no end before the next one begins")))
            }
            Found::Last => {
                // Where it was cut within a segment, others may have been taken for the rest of that.
                self.used = 2 + jpeg::start(&self.pending[2..]);
                Ok(Arrival::Broken(format!("the file ends within frame {number}")))
            }
            Found::Endless => {
                self.used = 2;
                Ok(Arrival::Broken(format!("frame {number} has no end within {} MiB", MAX_IMAGE >> 20)))
            }
            Found::Image(length) => {
                self.used = length;
                Ok(match unpack::decode(&mut self.motion, &self.pending[..length], self.sides, shot) {
                    Ok(sides_px) => {
                        self.sides = Sides::Exactly(sides_px);
                        Arrival::Frame
                    }
                    Err(reason) => Arrival::Broken(format!("frame {number}: {reason}")),
                })
            }
        }
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&self.path, &e))?;
        self.pending.clear();
        (self.used, self.is_read, self.next) = (0, false, 0);
        Ok(Rewound::Yes)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}
