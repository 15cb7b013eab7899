//! Where frames come from: cameras, pictures, recorded video, a test pattern. One trait, so that whatever plays them needs not know.
//! A frame that cannot be used is told and passed over; a source never ends because of one.

#[cfg(test)]
mod contract;
mod dma;
mod mjpeg;
mod pattern;
mod reel;
mod standby;
mod stills;
mod unpack;
#[cfg(feature = "v4l2")]
pub mod v4l2;
mod y4m;

use std::path::Path;
use std::time::{Duration, Instant};

use artifact::Fault;

use crate::frame::{Picture, YuvColor, YuvFrame};
use crate::{Error, Frame};

pub use dma::ShotDma;
pub use mjpeg::MjpegFile;
pub use pattern::Pattern;
pub use standby::{Handover, Hunt, Look, Standby};
pub use stills::{Still, Stills};
pub use y4m::Y4mFile;

/// Something that gives frames, one after the other.
pub trait Source: Send {
    /// Waits for the next frame, for at most `patience`, and reads it into `shot`, whose memory is used again; not by pictures, each
    /// of which brings its own. Motion JPEG as no camera sends it, such as progressive, takes some more for each frame.
    ///
    /// # Errors
    /// [`Error::Input`] when the source cannot give another frame, now or later.
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error>;

    /// Waits for the next frame, for at most `patience`, and passes over it: what `shot` then holds is not said. Sources that
    /// need not read a frame for that spare themselves the work.
    ///
    /// # Errors
    /// As [`Source::next`].
    fn skip(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        self.next(shot, patience)
    }

    /// As [`Source::next`], for who may do without the pixels: a frame may stay in the camera's buffer. Then `shot` has no pixels
    /// until somebody [reads](Shot::read) them, which takes that [`Shot::dma`] is still there.
    ///
    /// # Errors
    /// As [`Source::next`].
    fn next_unread(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        self.next(shot, patience)
    }

    /// What becomes of frames while nobody asks for them.
    fn supply(&self) -> Supply {
        Supply::OnDemand
    }

    /// Begins anew, where the source can. The time at which frames were filmed goes on, see [`Shot::filmed_at`].
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read any more.
    fn rewind(&mut self) -> Result<Rewound, Error>;

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// What becomes of a source's frames while nobody asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// They wait, as those of files do.
    OnDemand,
    /// They come, and a few old ones are kept, as by cameras' drivers: who asks late is given what is no longer so.
    Live,
}

/// What came of waiting for a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The shot holds one.
    Frame,
    /// One came and cannot be used; a sentence that says why.
    Broken(String),
    /// Something happened to the source itself, and no frame came; a sentence that says what.
    Event(String),
    /// None came in time.
    Late,
    /// There are no more.
    Ended,
}

/// Whether a source began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewound {
    /// The next frame is its first.
    Yes,
    /// What it gave will not come again.
    No,
}

/// A frame, in memory of its own but for one that stayed in its camera's.
#[derive(Debug, Clone, Default)]
pub struct Shot {
    /// Its number in the source, from 0; what was broken or lost counts too.
    pub number: u64,
    /// File it is from, where each has its own.
    pub name: String,
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// What `bytes` are.
    pub format: Format,
    /// Rows without padding; none where the frame stayed in the camera's buffer, see [`Source::next_unread`].
    pub bytes: Vec<u8>,
    /// When the frame was taken, where the source knows that.
    pub taken_at: Option<Instant>,
    /// When the frame of a recording was filmed, from any moment that stays the same. It follows the frame's number and not the clock
    /// of who reads it, so that objects are followed alike at any speed: what was broken or passed over counts, and a recording
    /// that begins anew goes on as if its first frame followed its last. Where nothing says how fast it was filmed, as in Motion
    /// JPEG, in pictures and in the test pattern, it is 30 frames a second. None where it is of no recording: objects are then
    /// followed by when it was taken, or else had been read.
    pub filmed_at: Option<Duration>,
    /// When waiting for the frame was over and reading it began, where the source waits for frames.
    pub read_from: Option<Instant>,
    /// The same frame where the camera put it, for devices to read it there; absent where it is in no DMA-BUF.
    pub dma: Option<ShotDma>,
}

/// How pixels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Red, green, blue for each pixel.
    #[default]
    Rgb,
    /// [`Samples::Nv12`](crate::frame::Samples::Nv12).
    Nv12(YuvColor),
    /// [`Samples::Yuyv`](crate::frame::Samples::Yuyv).
    Yuyv(YuvColor),
}

impl Shot {
    /// Whether its pixels are in `bytes`.
    pub fn has_pixels(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads the pixels into `bytes` where they are in the camera's buffer only.
    ///
    /// # Errors
    /// [`Error::Input`] when a processor cannot read that, or it does not hold all rows.
    pub fn read(&mut self) -> Result<(), Error> {
        if self.has_pixels() {
            return Ok(());
        }
        self.dma.clone().map_or(Ok(()), |dma| dma.read_into(self))
    }

    /// The frame.
    ///
    /// # Errors
    /// [`Error::Input`] when sides and bytes do not fit together.
    pub fn picture(&self) -> Result<Picture<'_>, Error> {
        let Self { width_px, height_px, bytes, .. } = self;
        Ok(match self.format {
            Format::Rgb => Frame::new(*width_px, *height_px, bytes)?.into(),
            Format::Nv12(color) => YuvFrame::nv12(*width_px, *height_px, bytes, color)?.into(),
            Format::Yuyv(color) => YuvFrame::yuyv(*width_px, *height_px, bytes, color)?.into(),
        })
    }

    /// Makes room for a frame and gives its bytes, whose content is not said.
    fn make_room(&mut self, size_px: (usize, usize), format: Format, len: usize) -> &mut [u8] {
        (self.width_px, self.height_px) = size_px;
        self.format = format;
        self.bytes.resize(len, 0);
        &mut self.bytes
    }
}

/// Opens a file of video by its ending: `.y4m`, or `.mjpeg` or `.mjpg`.
///
/// # Errors
/// [`Error::Input`] when the file cannot be read, or is of another kind.
pub fn open_video(path: &Path) -> Result<Box<dyn Source>, Error> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "y4m" => Ok(Box::new(Y4mFile::open(path)?)),
        "mjpeg" | "mjpg" => Ok(Box::new(MjpegFile::open(path)?)),
        _ => Err(unusable(
            path,
            &format!("a file that ends in {ending:?}"),
            "video as .y4m, .mjpeg or .mjpg",
            "convert it, for example with `ffmpeg -i VIDEO -pix_fmt yuv420p OUT.y4m`",
        )),
    }
}

fn unusable(path: &Path, found: &str, expected: &str, hint: &str) -> Error {
    Error::Input(Fault::new(format!("{}: {found}", path.display()), expected, hint))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    unusable(path, &error.to_string(), "a file of video", "check the path and that you may read it")
}

#[cfg(test)]
mod tests;
