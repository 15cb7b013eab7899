//! One file of video. It is written under another name and gets its own when it is whole; after every picture it can be played.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk;
use super::mp4::Mp4;
use crate::Error;
use crate::sink::config::VideoFormat;
use crate::sink::pictures::Jpeg;

/// A segment that is being written.
pub(super) struct Segment {
    path: PathBuf,
    part: PathBuf,
    file: File,
    /// What is whole of it.
    bytes: u64,
    /// Pictures that were given to it.
    pictures: u64,
    size_px: [usize; 2],
    body: Body,
    /// What is written next, whose memory is used again.
    out: Vec<u8>,
}

enum Body {
    Mjpeg,
    Mp4(Mp4),
}

impl Segment {
    /// A segment whose first picture will be `first`.
    pub(super) fn begin(folder: &Path, format: VideoFormat, first: &Jpeg) -> Result<Self, Error> {
        let path = disk::next_path(folder, format)?;
        let mut part = path.clone().into_os_string();
        part.push(".");
        part.push(disk::PART);
        let part = PathBuf::from(part);
        let file = File::create_new(&part).map_err(|e| artifact::Error::io(&part, e))?;
        let mut out = Vec::new();
        let body = match format {
            VideoFormat::Mjpeg => Body::Mjpeg,
            VideoFormat::Mp4 => Body::Mp4(Mp4::begin(first, &mut out)),
        };
        let mut segment = Self { path, part, file, bytes: 0, pictures: 0, size_px: first.size_px, body, out };
        segment.put()?;
        Ok(segment)
    }

    /// Where it lies while it is written.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Whether `picture` can be added without more than `room` bytes in all.
    pub(super) fn takes(&self, picture: &Jpeg, room: u64) -> bool {
        let waiting = match &self.body {
            Body::Mjpeg => 0,
            Body::Mp4(mp4) => mp4.waiting_bytes(),
        };
        let added = (waiting + Mp4::picture_bytes(picture)) as u64;
        self.size_px == picture.size_px && self.bytes + added <= room
    }

    /// Adds a picture.
    pub(super) fn write(&mut self, picture: &Arc<Jpeg>) -> Result<(), Error> {
        match &mut self.body {
            Body::Mjpeg => self.out.extend_from_slice(&picture.bytes),
            Body::Mp4(mp4) => mp4.add(picture, &mut self.out),
        }
        self.put()?;
        self.pictures += 1;
        Ok(())
    }

    /// Gives it its name. One without pictures goes.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if let Body::Mp4(mp4) = &mut self.body {
            mp4.end(&mut self.out);
        }
        let put = self.put();
        if self.pictures == 0 {
            return Ok(std::fs::remove_file(&self.part).map_err(|e| artifact::Error::io(&self.part, e))?);
        }
        let named = |e| artifact::Error::io(&self.path, e);
        self.file.sync_all().map_err(named)?;
        std::fs::rename(&self.part, &self.path).map_err(named)?;
        put
    }

    /// Writes what waits in `out`; what does not fit wholly is taken back.
    fn put(&mut self) -> Result<(), Error> {
        let written = self.file.write_all(&self.out);
        let len = self.out.len() as u64;
        self.out.clear();
        match written {
            Ok(()) => self.bytes += len,
            Err(error) => {
                // A disk that cannot shorten a file leaves one that ends within a picture, which players pass over.
                let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::End(0)));
                return Err(artifact::Error::io(&self.part, error).into());
            }
        }
        Ok(())
    }
}
