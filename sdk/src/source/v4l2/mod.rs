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
mod layout;
mod node;
mod offer;
mod watch;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Arrival, Rewound, Shot, ShotDma, Source, Supply};
use crate::Error;
use crate::frame::YuvFrame;
use find::Finder;
use watch::{Taken, Watched};

pub use offer::{Pixels, Wish};

/// Which camera, and what of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its node, such as `/dev/video0` or a link in `/dev/v4l/by-id`; the first camera where it is left open.
    pub path: Option<PathBuf>,
    /// Size, speed and format. It gives what comes nearest.
    pub wish: Wish,
    /// A stream without frames for so long is begun anew, and after as long again the camera is opened anew.
    pub stuck_after: Duration,
}

impl Default for Settings {
    /// The first camera with what [`Wish::default`] wants; five seconds.
    fn default() -> Self {
        Self { path: None, wish: Wish::default(), stuck_after: Duration::from_secs(5) }
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
}

/// The camera with the lowest number, if there is any. Nodes of metadata, outputs, converters and codecs, and nodes that offer no
/// format, are passed over.
///
/// # Errors
/// [`Error::Input`] when there are video devices and this user may open none of them.
pub fn first_camera() -> Result<Option<Found>, Error> {
    Ok(find::cameras().map_err(Error::Input)?.into_iter().next())
}

/// A camera that streams.
///
/// It tells what happens to it by [`Arrival::Broken`], once each: frames that are damaged, a stream that is stuck, being
/// unplugged. While it is away frames are [`Arrival::Late`]. Numbers of frames go on when it is back; those that the driver passed
/// over are counted. Frames as NV12 and YUYV are copied without an allocation; as MJPEG, each is one of the decoder's. Those that a
/// device wrote in one plane are [shared as DMA-BUF](Shot::dma) too, of so many buffers at a time that the driver has enough left;
/// not those of USB cameras, which the driver writes.
#[derive(Debug)]
pub struct Camera {
    watched: Watched<Finder>,
    taken_at: Option<Duration>,
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
        Ok(Self { watched, taken_at: None, setting })
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
        let taken_at = &mut self.taken_at;
        // The driver may need it for the next frame.
        shot.dma = None;
        Ok(self.watched.next(patience, &mut |taken, layout, number| {
            *taken_at = Some(taken.taken_at);
            shot.number = number;
            shot.name.clear();
            layout.unpack(taken.planes, shot)?;
            shot.dma = taken.whole.zip(layout.dma()).map(|(fd, layout)| ShotDma::new(Arc::clone(fd), layout));
            Ok(())
        }))
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
