//! Cameras of V4L2: USB cameras, and the ISPs of boards, whose queues have several planes. What is unplugged is opened again when it
//! is back, and what is stuck is begun anew. It never waits in the driver, and never converts but JPEG, which it decodes.
//!
//! ```no_run
//! use std::time::Duration;
//! use repedge::source::v4l2::{Camera, Settings};
//! use repedge::source::{Arrival, Shot, Source};
//!
//! let mut camera = Camera::open(Settings::default())?;
//! let mut shot = Shot::default();
//! if camera.next(&mut shot, Duration::from_secs(2))? == Arrival::Frame {
//!     println!("frame {} of {}: {}x{}", shot.number, camera.describe(), shot.width_px, shot.height_px);
//! }
//! # Ok::<(), repedge::Error>(())
//! ```

mod ffi;
mod find;
mod kind;
mod layout;
mod node;
mod offer;
mod search;
mod watch;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Arrival, Rewound, Shot, ShotDma, Source, Supply};
use crate::Error;
use crate::frame::YuvFrame;
use crate::frame::jpeg::Motion;
use find::Finder;
use layout::Layout;
use watch::{Taken, Watched};

pub use kind::Kind;
pub use offer::{Formats, Pixels, Wish};
pub use search::Search;

/// Which camera, and what of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its node, such as `/dev/video0` or a link in `/dev/v4l/by-id`; the first camera where it is left open.
    pub path: Option<PathBuf>,
    /// The kinds of cameras that the device has: the first camera is one of the first kind that is there. Others are taken too,
    /// after these.
    pub kinds: Vec<Kind>,
    /// Size, speed and format. It gives what comes nearest.
    pub wish: Wish,
    /// A stream without frames for so long is begun anew, and after as long again the camera is opened anew.
    pub stuck_after: Duration,
}

impl Default for Settings {
    /// The first camera with what [`Wish::default`] wants; five seconds.
    fn default() -> Self {
        Self { path: None, kinds: Vec::new(), wish: Wish::default(), stuck_after: Duration::from_secs(5) }
    }
}

/// A camera that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its node.
    pub path: PathBuf,
    /// Its name, as its driver says.
    pub card: String,
    /// Where it is plugged in, as its driver says.
    pub bus: String,
    /// The driver's name.
    pub driver: String,
}

/// The camera with the lowest number, if there is any. Nodes of metadata, outputs, converters and codecs, and nodes that offer no
/// format that we read, are passed over.
///
/// # Errors
/// [`Error::Input`] when there are video devices and this user may open none of them.
pub fn first_camera() -> Result<Option<Found>, Error> {
    Ok(find::cameras().map_err(Error::Input)?.into_iter().next())
}

/// A camera that streams.
///
/// It tells damaged frames by [`Arrival::Broken`], and what happens to it by [`Arrival::Event`]: a stream that is stuck and being
/// unplugged, once each, and that it is back and cannot be used, at every look. While it is away frames are [`Arrival::Late`].
/// Numbers of frames go on when it is back; those that the driver passed over are counted. Frames are copied, or decoded, into
/// memory that is used again; an image of another size than the camera's counts as damaged. Those that a device wrote in one plane
/// are [shared as DMA-BUF](Shot::dma) too, and with [`Source::next_unread`] not copied; not those of USB cameras, which the driver
/// writes. The driver keeps enough buffers to go on: where too many are shared, a frame is copied and its buffer given back at once.
#[derive(Debug)]
pub struct Camera {
    watched: Watched<Finder>,
    taken_at: Option<Duration>,
    /// Decodes its JPEG.
    motion: Motion,
    /// Its driver's words for what it was set to at first.
    setting: String,
}

/// A frame that lies in the driver's memory, which it gets back after it was looked at.
#[derive(Debug, Clone, Copy)]
pub struct Lent<'a> {
    /// As [`Shot::number`].
    pub number: u64,
    /// As [`Camera::taken_at`].
    pub taken_at: Duration,
    /// The pixels.
    pub pixels: LentPixels<'a>,
    /// The same memory as DMA-BUF, one for each plane, where the driver exports it. NV12 in one plane has one.
    pub dma_bufs: [Option<LentDma<'a>>; 2],
}

/// Where a plane lies in a DMA-BUF.
#[derive(Debug, Clone, Copy)]
pub struct LentDma<'a> {
    /// The DMA-BUF.
    pub fd: BorrowedFd<'a>,
    /// Bytes in front of the plane: some drivers put a header there.
    pub offset: usize,
}

/// Pixels in the driver's memory.
#[derive(Debug, Clone, Copy)]
pub enum LentPixels<'a> {
    /// NV12 or YUYV, with the driver's strides.
    Yuv(YuvFrame<'a>),
    /// An image file, and what may be around it.
    Jpeg(&'a [u8]),
}

/// When pixels are read out of the driver's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Now,
    /// Where the memory may be kept until then; else now.
    Later,
}

impl Camera {
    /// Opens a camera and starts it.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none, it may not be opened, is in use, or offers no format that we read: then it says
    /// what it offers.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let stuck_after = settings.stuck_after;
        let watched = Watched::open(Finder::new(settings), stuck_after).map_err(Error::Input)?;
        let setting = watched.device().map(|node| node.format().to_string()).unwrap_or_default();
        Ok(Self { watched, taken_at: None, motion: Motion::default(), setting })
    }

    /// As [`Source::next`], without a copy: `look` sees the frame where it lies. What it does with the DMA-BUFs must have
    /// ended when it returns.
    pub fn lend(&mut self, patience: Duration, look: &mut dyn FnMut(&Lent<'_>)) -> Arrival {
        let taken_at = &mut self.taken_at;
        self.watched.next(patience, &mut |taken, layout, number| {
            *taken_at = Some(taken.taken_at);
            let Taken { taken_at, planes, dma, .. } = *taken;
            let pixels = layout.look(planes)?.map_or(LentPixels::Jpeg(planes[0]), LentPixels::Yuv);
            look(&Lent { number, taken_at, pixels, dma_bufs: dma });
            Ok(())
        })
    }

    fn take(&mut self, shot: &mut Shot, patience: Duration, reading: Reading) -> Arrival {
        let Self { watched, taken_at, motion, .. } = self;
        // The driver may need it for the next frame.
        shot.dma = None;
        watched.next(patience, &mut |taken, layout, number| {
            *taken_at = Some(taken.taken_at);
            (shot.taken_at, shot.read_from) = (moment(taken.taken_at), Some(Instant::now()));
            shot.number = number;
            shot.name.clear();
            take_in(taken, layout, reading, shot, motion)
        })
    }

    /// When the last frame was taken, on the driver's clock: for nearly all `CLOCK_MONOTONIC`. None before the first.
    pub fn taken_at(&self) -> Option<Duration> {
        self.taken_at
    }

    /// Which camera it is, as it was last opened.
    pub fn found(&self) -> Option<&Found> {
        self.watched.hub().known()
    }
}

impl Source for Camera {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        Ok(self.take(shot, patience, Reading::Now))
    }

    /// Leaves what a device can read in the driver's memory, which has the buffer again once [`Shot::dma`] is dropped.
    fn next_unread(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        Ok(self.take(shot, patience, Reading::Later))
    }

    /// Gives the buffer back without copying or decoding it.
    fn skip(&mut self, _shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        Ok(self.lend(patience, &mut |_| {}))
    }

    fn supply(&self) -> Supply {
        Supply::Live
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        let found = self.found().map(|Found { path, card, .. }| format!("{} ({card})", path.display()));
        format!("{}, {}", found.unwrap_or_else(|| "a camera".into()), self.setting)
    }
}

/// Makes `shot` the frame that was taken, of whose pixels a copy is made unless that has time.
fn take_in(
    taken: &Taken<'_>,
    layout: &Layout,
    reading: Reading,
    shot: &mut Shot,
    motion: &mut Motion,
) -> Result<(), String> {
    let dma = taken.whole.zip(layout.dma()).map(|(fd, layout)| ShotDma::new(Arc::clone(fd), layout));
    match reading {
        Reading::Later if dma.is_some() => layout.leave(taken.planes, shot)?,
        Reading::Later | Reading::Now => layout.unpack(taken.planes, shot, motion)?,
    }
    shot.dma = dma;
    Ok(())
}

/// Frames that a driver keeps are younger: what seems older is by another clock than ours.
const OLDEST: Duration = Duration::from_secs(2);

/// The moment that a driver calls `at`; none where it goes by another clock.
fn moment(at: Duration) -> Option<Instant> {
    let age = ffi::monotonic().checked_sub(at).filter(|age| *age < OLDEST)?;
    Instant::now().checked_sub(age)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::layout::Packing;
    use super::watch::State;
    use super::*;
    use crate::frame::YuvColor;

    /// Takes in a frame of 4x2 pixels, padded to rows of 6 bytes, whose buffer may be kept if there is one.
    fn taken(bytes: &[u8], whole: Option<&Arc<OwnedFd>>, reading: Reading) -> Result<Shot, String> {
        let packing = Packing::Nv12 { stride: 6, color: YuvColor::default() };
        let layout = Layout { width_px: 4, height_px: 2, packing };
        let (taken_at, state, planes) = (Duration::ZERO, State::Whole, [bytes, &[]]);
        let taken = Taken { sequence: 0, taken_at, state, planes, dma: [None; 2], whole };
        // What was there before must not be taken for this frame's.
        let mut shot = Shot { bytes: vec![99; 12], ..Shot::default() };
        take_in(&taken, &layout, reading, &mut shot, &mut Motion::default()).map(|()| shot)
    }

    #[test]
    fn a_frame_that_nobody_reads_stays_in_its_buffer_where_that_may_be_kept() {
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 21, 22, 23, 24];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&padded).unwrap();
        let fd = Arc::new(OwnedFd::from(file));
        let read = taken(&padded, Some(&fd), Reading::Now).unwrap();
        let mut unread = taken(&padded, Some(&fd), Reading::Later).unwrap();
        assert_eq!(Arc::strong_count(&fd), 3, "both share the buffer");
        assert_eq!((read.has_pixels(), unread.has_pixels()), (true, false));
        let is = |shot: &Shot| (shot.width_px, shot.height_px, shot.format);
        assert_eq!(is(&read), is(&unread));
        unread.read().unwrap();
        assert_eq!(unread.bytes, read.bytes);
        let copied = taken(&padded, None, Reading::Later).unwrap();
        assert_eq!((copied.bytes, copied.dma.is_none()), (read.bytes, true));
        let short = taken(&padded[..15], Some(&fd), Reading::Later).unwrap_err();
        assert!(short.contains("4x2"), "{short}");
    }

    #[test]
    fn a_drivers_time_is_a_moment_unless_it_is_by_another_clock() {
        let age = Duration::from_millis(30);
        let (before, now) = (Instant::now(), ffi::monotonic());
        let taken = moment(now - age).unwrap();
        assert!(taken + age >= before && taken + age <= Instant::now());
        assert_eq!(moment(now + Duration::from_secs(3600)), None, "the time of day");
        assert_eq!(moment(now.saturating_sub(OLDEST)), None, "a clock that began later");
    }
}
