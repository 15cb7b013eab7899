//! A device node of V4L2 that streams: format set, buffers mapped and exported, frames waited for with `poll`. It never blocks
//! in the driver: a `VIDIOC_DQBUF` that waits may not return when the camera is unplugged.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifact::Fault;
use v4l2r::bindings::{
    V4L2_BUF_FLAG_ERROR, v4l2_capability, v4l2_fmtdesc, v4l2_frmivalenum, v4l2_frmsizeenum, v4l2_streamparm,
};
use v4l2r::ioctl::{
    self, Capabilities, Capability, DqBufError, DqBufIoctlError, ExpbufFlags, FrmIvalTypes, FrmSizeTypes,
    MemoryConsistency, PlaneMapping, QueryBuffer, UncheckedV4l2Buffer,
};
use v4l2r::memory::MemoryType;
use v4l2r::nix::errno::Errno;
use v4l2r::nix::fcntl::OFlag;
use v4l2r::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use v4l2r::{PixelFormat, QueueType};

use super::LentDma;
use super::ffi;
use super::kind::{self, Kind};
use super::layout::{DriverFormat, Layout};
use super::offer::{self, Choice, Code, Offer, Size, Sizes, Wish};
use super::watch::{Device, Failure, State, Taken, Unopened, Waited};

/// Buffers asked for: one that is read, one that is filled, two for what waits between, and one more that a device reads.
const BUFFERS: u32 = 5;
/// Fewer cannot be filled while one is read.
const LEAST_BUFFERS: usize = 2;
/// What a driver may list of each; more is not looked at.
const MOST_FORMATS: u32 = 128;
const MOST_SIZES: u32 = 128;
const MOST_INTERVALS: u32 = 32;

/// What a node is, as its driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The camera's name.
    pub(super) card: String,
    /// Where it is plugged in.
    pub(super) bus: String,
    /// The driver's name.
    pub(super) driver: String,
}

/// A node that streams.
#[derive(Debug)]
pub(super) struct Node {
    // In this order dropped: memory before the file it is of.
    buffers: Vec<Buffer>,
    file: File,
    queue: QueueType,
    format: DriverFormat,
    layout: Layout,
    writer: Writer,
}

/// Who writes frames into buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// A device, such as an ISP: what other devices read is what it wrote.
    Device,
    /// The driver, as for USB cameras: some of it may still be in the processor's caches, which no call writes back for a buffer
    /// that a device has imported before.
    Processor,
}

/// A mapped buffer.
struct Buffer {
    planes: [Option<PlaneMapping>; 2],
    dma: [Option<Arc<OwnedFd>>; 2],
    /// Whether the driver does not have it because somebody may hold its DMA-BUF.
    is_kept: bool,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = |plane: &Option<PlaneMapping>| plane.as_ref().map_or(0, PlaneMapping::size);
        f.debug_struct("Buffer").field("bytes", &self.planes.each_ref().map(bytes)).finish_non_exhaustive()
    }
}

/// Opens a node without waiting for anything.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// What a node is, and the queue that its frames come from; none where it is no camera.
///
/// # Errors
/// What the driver answers.
pub(super) fn identify(file: &File) -> Result<(Identity, Option<QueueType>), Errno> {
    let capability: v4l2_capability = ioctl::querycap(file).map_err(Errno::from)?;
    let capability = Capability::from(capability);
    let queue = capture_queue(capability.device_caps());
    let Capability { card, bus_info: bus, driver, .. } = capability;
    Ok((Identity { card, bus, driver }, queue))
}

/// The queue of a node that streams video from a camera. Nodes of metadata, and those of converters and codecs, which have
/// a queue for capture too, are none.
fn capture_queue(node: Capabilities) -> Option<QueueType> {
    let converts = Capabilities::VIDEO_M2M | Capabilities::VIDEO_M2M_MPLANE;
    let outputs = Capabilities::VIDEO_OUTPUT | Capabilities::VIDEO_OUTPUT_MPLANE;
    if !node.contains(Capabilities::STREAMING) || node.intersects(converts | outputs) {
        return None;
    }
    if node.contains(Capabilities::VIDEO_CAPTURE_MPLANE) {
        return Some(QueueType::VideoCaptureMplane);
    }
    node.contains(Capabilities::VIDEO_CAPTURE).then_some(QueueType::VideoCapture)
}

/// The formats that a node offers, with their sizes.
pub(super) fn offers(file: &File, queue: QueueType) -> Vec<Offer> {
    let formats =
        (0..MOST_FORMATS).map_while(|index| ioctl::enum_fmt::<v4l2_fmtdesc>(file, queue, index).ok());
    let offer = |format: v4l2_fmtdesc| Offer {
        code: Code(format.pixelformat.to_le_bytes()),
        sizes: sizes(file, format.pixelformat.into()),
    };
    formats.map(offer).collect()
}

fn sizes(file: &File, format: PixelFormat) -> Sizes {
    let mut listed = Vec::new();
    for index in 0..MOST_SIZES {
        let Ok(size) = ioctl::enum_frame_sizes::<v4l2_frmsizeenum>(file, index, format) else { break };
        match size.size() {
            Some(FrmSizeTypes::Discrete(size)) => {
                let most_fps = most_fps(file, format, [size.width, size.height]);
                listed.push(Size { sides_px: [size.width, size.height], most_fps });
            }
            Some(FrmSizeTypes::StepWise(range)) => {
                return Sizes::Range {
                    least: [range.min_width, range.min_height],
                    most: [range.max_width, range.max_height],
                    step: [range.step_width, range.step_height],
                };
            }
            None => break,
        }
    }
    if listed.is_empty() { Sizes::Unsaid } else { Sizes::Listed(listed) }
}

/// The most frames a second, rounded to the nearest: cameras state 30 as 1001/30000 of a second too.
fn most_fps(file: &File, format: PixelFormat, [width, height]: [u32; 2]) -> Option<u32> {
    let interval =
        |index| ioctl::enum_frame_intervals::<v4l2_frmivalenum>(file, index, format, width, height).ok();
    let rates = (0..MOST_INTERVALS).map_while(interval).filter_map(|interval| {
        let shortest = match interval.intervals()? {
            FrmIvalTypes::Discrete(interval) => *interval,
            FrmIvalTypes::StepWise(range) => range.min,
        };
        let half = shortest.numerator / 2;
        shortest.denominator.saturating_add(half).checked_div(shortest.numerator)
    });
    rates.max()
}

impl Node {
    /// Sets up and starts the stream of the camera at `path`, in the formats that its kind is preferred in where the wish leaves
    /// them open.
    ///
    /// # Errors
    /// That it is not there, or why it cannot be used.
    pub(super) fn open(path: &Path, wish: &Wish, kinds: &[Kind]) -> Result<(Self, Identity), Unopened> {
        let file = open_file(path).map_err(|error| unopened(path, "opening it", errno_of(&error)))?;
        let (identity, queue) = identify(&file).map_err(|errno| unopened(path, "VIDIOC_QUERYCAP", errno))?;
        let queue = queue.ok_or_else(|| {
            let found = format!("{}: {:?}, which is no camera that streams", path.display(), identity.card);
            let hint = "pass another node, or none to have the first camera taken";
            Unopened::Unfit(Fault::new(found, "a node that captures video", hint))
        })?;
        let wish = kind::wish_of(&identity.driver, wish, kinds);
        let choice = offer::choose(&offers(&file, queue), &wish).map_err(|fault| within(path, fault))?;
        let node = Self::start(path, file, queue, choice, wish.fps, Writer::on(&identity.bus))?;
        Ok((node, identity))
    }

    fn start(
        path: &Path,
        file: File,
        queue: QueueType,
        choice: Choice,
        fps: u32,
        writer: Writer,
    ) -> Result<Self, Unopened> {
        let failed = |step, errno| unopened(path, step, errno);
        let format = set_format(&file, queue, choice).map_err(|errno| failed("VIDIOC_S_FMT", errno))?;
        let layout = format.layout().map_err(|fault| within(path, fault))?;
        // A wish: not every driver has a pace to set.
        let _ = ioctl::s_parm::<_, v4l2_streamparm>(&file, ffi::pace(queue, fps));
        let no_flags = MemoryConsistency::empty();
        let count = ioctl::reqbufs::<usize>(&file, queue, MemoryType::Mmap, BUFFERS, no_flags);
        let count = count.map_err(|error| failed("VIDIOC_REQBUFS", error.into()))?;
        if count < LEAST_BUFFERS {
            return Err(failed("VIDIOC_REQBUFS for 2 buffers", Errno::ENOMEM));
        }
        let buffers: Result<_, _> = (0..count).map(|index| Buffer::map(&file, queue, index)).collect();
        let buffers = buffers.map_err(|errno| failed("mapping its buffers", errno))?;
        let node = Self { buffers, file, queue, format, layout, writer };
        node.stream().map_err(|errno| failed("VIDIOC_STREAMON", errno))?;
        Ok(node)
    }

    /// What the driver says of its format.
    pub(super) fn format(&self) -> DriverFormat {
        self.format
    }

    /// Hands all buffers that nobody holds to the driver and starts it.
    fn stream(&self) -> Result<(), Errno> {
        let mut free = (0..self.buffers.len()).filter(|index| !self.buffers[*index].is_kept);
        free.try_for_each(|index| self.give(index))?;
        ioctl::streamon(&self.file, self.queue).map_err(Errno::from)
    }

    /// Hands buffers to the driver that are no longer held.
    fn give_back(&mut self) -> Result<(), Errno> {
        for index in 0..self.buffers.len() {
            if self.buffers[index].is_kept && !self.buffers[index].is_held() {
                self.give(index)?;
                self.buffers[index].is_kept = false;
            }
        }
        Ok(())
    }

    fn give(&self, index: usize) -> Result<(), Errno> {
        let mut buffer = UncheckedV4l2Buffer::new_for_querybuf(self.queue, u32::try_from(index).ok());
        buffer.0.memory = MemoryType::Mmap as u32;
        ioctl::qbuf::<_, ()>(&self.file, buffer).map_err(Errno::from_convert)
    }

    /// Waits with `poll`; says whether there is a buffer to take.
    fn poll(&self, patience: Duration) -> Result<Waited, Failure> {
        // Rounded up, or the last part of a millisecond would be waited for without rest.
        let millis = patience.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Waited::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(failure("poll", errno)),
        }
        let events = watched[0].revents().unwrap_or(PollFlags::POLLERR);
        if events.intersects(PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return Err(Failure("the camera is gone (poll: POLLHUP)".into()));
        }
        if events.contains(PollFlags::POLLERR) {
            return Err(Failure("the camera's stream failed (poll: POLLERR)".into()));
        }
        Ok(if events.contains(PollFlags::POLLIN) { Waited::Buffer } else { Waited::Nothing })
    }
}

impl Writer {
    /// Who writes what comes from a camera there, as drivers name the place (`bus_info` in the kernel's V4L2 documentation).
    fn on(bus: &str) -> Self {
        if bus.starts_with("usb-") { Self::Processor } else { Self::Device }
    }
}

impl Device for Node {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn next(&mut self, patience: Duration, read: &mut dyn FnMut(&Taken<'_>)) -> Result<Waited, Failure> {
        self.give_back().map_err(|errno| failure("VIDIOC_QBUF", errno))?;
        if self.poll(patience)? == Waited::Nothing {
            return Ok(Waited::Nothing);
        }
        let filled: Filled = match ioctl::dqbuf(&self.file, self.queue) {
            Ok(filled) => filled,
            Err(DqBufError::IoctlError(DqBufIoctlError::NotReady)) => return Ok(Waited::Nothing),
            Err(error) => return Err(failure("VIDIOC_DQBUF", Errno::from_convert(error))),
        };
        let count = self.buffers.len();
        let kept = self.buffers.iter().filter(|buffer| buffer.is_kept).count();
        let Some(buffer) = self.buffers.get(filled.index) else {
            return Err(Failure(format!("the driver filled buffer {}, which there is not", filled.index)));
        };
        // Without this one, the driver needs as many to go on.
        let may_keep = self.writer == Writer::Device && kept + 1 + LEAST_BUFFERS <= count;
        read(&Taken {
            sequence: filled.sequence,
            taken_at: filled.taken_at,
            state: filled.state,
            planes: [0, 1].map(|plane| filled.bytes(plane, buffer)),
            dma: [0, 1].map(|plane| {
                let fd = buffer.dma[plane].as_ref()?.as_fd();
                Some(LentDma { fd, offset: filled.used[plane][0] })
            }),
            whole: buffer.dma[0].as_ref().filter(|_| may_keep && filled.used[0][0] == 0),
        });
        if buffer.is_held() {
            self.buffers[filled.index].is_kept = true;
            return Ok(Waited::Buffer);
        }
        self.give(filled.index).map_err(|errno| failure("VIDIOC_QBUF", errno))?;
        Ok(Waited::Buffer)
    }

    fn restart(&mut self) -> Result<(), Failure> {
        let stopped = ioctl::streamoff(&self.file, self.queue).map_err(Errno::from);
        stopped.and_then(|()| self.stream()).map_err(|errno| failure("VIDIOC_STREAMON", errno))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is gone cannot be stopped, and closing stops the rest.
        let _ = ioctl::streamoff(&self.file, self.queue);
    }
}

impl Buffer {
    fn map(file: &File, queue: QueueType, index: usize) -> Result<Self, Errno> {
        let described: QueryBuffer = ioctl::querybuf(file, queue, index).map_err(Errno::from_convert)?;
        let mut buffer = Self { planes: [None, None], dma: [None, None], is_kept: false };
        for (number, plane) in described.planes.iter().enumerate().take(2) {
            buffer.planes[number] =
                Some(ioctl::mmap(file, plane.mem_offset, plane.length).map_err(Errno::from)?);
            // Not every driver exports its buffers; then there is a copy.
            let flags = ExpbufFlags::CLOEXEC | ExpbufFlags::RDWR;
            buffer.dma[number] = ioctl::expbuf(file, queue, index, number, flags).ok().map(Arc::new);
        }
        Ok(buffer)
    }

    /// Whether somebody else has its DMA-BUF.
    fn is_held(&self) -> bool {
        self.dma.iter().flatten().any(|dma| Arc::strong_count(dma) > 1)
    }
}

/// What `VIDIOC_DQBUF` says.
struct Filled {
    index: usize,
    sequence: u32,
    taken_at: Duration,
    state: State,
    /// From where to where each plane is filled; to its end where the driver does not say.
    used: [[usize; 2]; 2],
}

impl From<UncheckedV4l2Buffer> for Filled {
    fn from(UncheckedV4l2Buffer(buffer, planes): UncheckedV4l2Buffer) -> Self {
        let used = match planes {
            Some(planes) => [0, 1].map(|at| [planes[at].data_offset as usize, planes[at].bytesused as usize]),
            None => [[0, buffer.bytesused as usize], [0; 2]],
        };
        let is_damaged = buffer.flags & V4L2_BUF_FLAG_ERROR != 0;
        let seconds = u64::try_from(buffer.timestamp.tv_sec).unwrap_or(0);
        let micros = u64::try_from(buffer.timestamp.tv_usec).unwrap_or(0);
        Self {
            index: buffer.index as usize,
            sequence: buffer.sequence,
            taken_at: Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)),
            state: if is_damaged { State::Damaged } else { State::Whole },
            used,
        }
    }
}

impl Filled {
    fn bytes<'b>(&self, plane: usize, buffer: &'b Buffer) -> &'b [u8] {
        let Some(mapping) = &buffer.planes[plane] else { return &[] };
        let bytes: &[u8] = mapping;
        let [from, to] = self.used[plane];
        let to = if to == 0 { bytes.len() } else { to };
        bytes.get(from..to).unwrap_or_default()
    }
}

fn set_format(file: &File, queue: QueueType, choice: Choice) -> Result<DriverFormat, Errno> {
    let [width, height] = choice.sides_px.map(|side| side as usize);
    let wanted = v4l2r::Format::from((&choice.code.0, (width, height)));
    ioctl::s_fmt::<_, DriverFormat>(&mut file.as_fd(), (queue, &wanted)).map_err(Errno::from)
}

/// Errors of v4l2r that carry a number of the kernel's.
trait FromConvert<E> {
    fn from_convert(error: E) -> Self;
}

impl<E: std::fmt::Debug + Into<Errno>> FromConvert<ioctl::IoctlConvertError<E, Infallible>> for Errno {
    fn from_convert(error: ioctl::IoctlConvertError<E, Infallible>) -> Self {
        match error {
            ioctl::IoctlConvertError::IoctlError(error) => error.into(),
            ioctl::IoctlConvertError::ConversionError(never) => match never {},
        }
    }
}

/// The kernel's number of an error.
pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

fn failure(step: &str, errno: Errno) -> Failure {
    let gone = [Errno::ENODEV, Errno::ENXIO].contains(&errno);
    let what = if gone { "the camera is gone" } else { "the camera's stream failed" };
    Failure(format!("{what} ({step}: {})", errno.desc()))
}

fn within(path: &Path, fault: Fault) -> Unopened {
    Unopened::Unfit(Fault { found: format!("{}: {}", path.display(), fault.found), ..fault })
}

fn unopened(path: &Path, step: &str, errno: Errno) -> Unopened {
    let fault = |expected: &str, hint: &str| {
        Fault::new(format!("{}: {step}: {}", path.display(), errno.desc()), expected, hint)
    };
    match errno {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            Unopened::Absent(fault("a camera", "plug it in; `ls /dev/video*` shows what is there"))
        }
        Errno::EACCES | Errno::EPERM => {
            Unopened::Unfit(fault("a camera that may be opened", "add the user to the group video"))
        }
        Errno::EBUSY => {
            Unopened::Unfit(fault("a camera that nobody uses", "end the other program that has it open"))
        }
        Errno::ENOTTY | Errno::EINVAL => {
            Unopened::Unfit(fault("a V4L2 camera that streams", "pass another node"))
        }
        _ => Unopened::Unfit(fault("a camera that streams", "see the kernel's messages (`dmesg`)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_that_stream_video_in_are_cameras() {
        use Capabilities as C;
        let queue = |caps: C| capture_queue(caps);
        assert_eq!(queue(C::VIDEO_CAPTURE | C::STREAMING | C::EXT_PIX_FORMAT), Some(QueueType::VideoCapture));
        let planes = C::VIDEO_CAPTURE_MPLANE | C::STREAMING;
        assert_eq!(queue(planes), Some(QueueType::VideoCaptureMplane));
        for none in [
            C::VIDEO_CAPTURE | C::READWRITE,
            C::META_CAPTURE | C::STREAMING,
            C::VIDEO_M2M_MPLANE | C::STREAMING,
            C::VIDEO_M2M | C::STREAMING,
            C::VIDEO_OUTPUT | C::STREAMING,
            planes | C::VIDEO_OUTPUT_MPLANE,
            C::VBI_CAPTURE | C::STREAMING,
        ] {
            assert_eq!(queue(none), None, "{none:?}");
        }
    }

    #[test]
    fn frames_of_usb_cameras_are_not_for_devices() {
        assert_eq!(Writer::on("usb-xhci-hcd.0.auto-1.2"), Writer::Processor);
        assert_eq!(Writer::on("platform:rkisp_mainpath"), Writer::Device);
    }

    #[test]
    fn what_is_no_camera_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Node::open(&folder.path().join("video9"), &Wish::default(), &[]).unwrap_err();
        assert!(
            matches!(&missing, Unopened::Absent(fault) if fault.to_string().contains("video9")),
            "{missing:?}"
        );
        let other = Node::open(Path::new("/dev/null"), &Wish::default(), &[]).unwrap_err();
        assert!(matches!(&other, Unopened::Unfit(fault) if fault.found.contains("QUERYCAP")), "{other:?}");
    }
}
