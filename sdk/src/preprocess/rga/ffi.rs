//! The part of librga's C interface (im2d) that is used, loaded at run time, and what makes it sound: the device touches only
//! what lies within an imported buffer, which is as long as its rows need. Decides nothing.
//!
//! Names, layouts and numbers are those of im2d 1.9 and 1.10, as their public headers state them (`im2d_type.h`,
//! `im2d_buffer.h`, `im2d_single.h`, `im2d_common.h`, `rga.h`). Untested on hardware.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::io;
use std::mem::{ManuallyDrop, offset_of};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use rustix::fs::SeekFrom;

/// `RK_FORMAT_YCbCr_420_SP`: NV12.
pub(super) const FORMAT_NV12: u32 = 0x0a << 8;
/// `RK_FORMAT_YUYV_422`.
pub(super) const FORMAT_YUYV: u32 = 0x1c << 8;
/// `RK_FORMAT_RGB_888`.
pub(super) const FORMAT_RGB: u32 = 0x02 << 8;
/// `IM_YUV_TO_RGB_BT601_LIMIT`.
pub(super) const COLOR_BT601_LIMITED: u32 = 1;
/// `IM_YUV_TO_RGB_BT601_FULL`.
pub(super) const COLOR_BT601_FULL: u32 = 2;
/// `IM_YUV_TO_RGB_BT709_LIMIT`.
pub(super) const COLOR_BT709_LIMITED: u32 = 3;

/// `RGA_VERSION` of `querystring`.
const QUERY_VERSION: c_int = 1;
/// `IM_SYNC`: the call returns when the work is done.
const USAGE_SYNC: c_int = 1 << 19;
/// `IM_STATUS_SUCCESS`.
const SUCCESS: c_int = 1;
/// `IM_RASTER_MODE`: rows of pixels, neither tiled nor compressed.
const RASTER: c_int = 1;
const OPAQUE: c_int = 0xff;

/// `rga_buffer_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    virtual_address: *mut c_void,
    physical_address: *mut c_void,
    fd: c_int,
    width: c_int,
    height: c_int,
    wstride: c_int,
    hstride: c_int,
    format: c_int,
    color_space_mode: c_int,
    global_alpha: c_int,
    rd_mode: c_int,
    color: c_int,
    color_key: [c_int; 2],
    nn: [c_int; 6],
    rop_code: c_int,
    handle: u32,
}

/// `im_rect`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Rect {
    x: c_int,
    y: c_int,
    width: c_int,
    height: c_int,
}

/// `im_handle_param_t`: sides in pixels, padding included.
#[repr(C)]
struct HandleParam {
    width: u32,
    height: u32,
    format: u32,
}

const POINTER: usize = size_of::<*mut c_void>();
const _: () = {
    assert!(size_of::<Buffer>() == 2 * POINTER + 20 * 4);
    assert!(offset_of!(Buffer, fd) == 2 * POINTER);
    assert!(offset_of!(Buffer, format) == 2 * POINTER + 20);
    assert!(offset_of!(Buffer, color_space_mode) == 2 * POINTER + 24);
    assert!(offset_of!(Buffer, rd_mode) == 2 * POINTER + 32);
    assert!(offset_of!(Buffer, nn) == 2 * POINTER + 48);
    assert!(offset_of!(Buffer, handle) == 2 * POINTER + 76);
    assert!(size_of::<Rect>() == 16 && size_of::<HandleParam>() == 12);
};

type QueryString = unsafe extern "C" fn(c_int) -> *const c_char;
type ImportFd = unsafe extern "C" fn(c_int, *mut HandleParam) -> u32;
type Release = unsafe extern "C" fn(u32) -> c_int;
type Process = unsafe extern "C" fn(Buffer, Buffer, Buffer, Rect, Rect, Rect, c_int) -> c_int;
type Fill = unsafe extern "C" fn(Buffer, Rect, c_int, c_int) -> c_int;
type StatusWords = unsafe extern "C" fn(c_int) -> *const c_char;

/// The loaded library; a function is absent where it lacks it.
pub(super) struct Library {
    query: Option<QueryString>,
    import_fd: Option<ImportFd>,
    release: Option<Release>,
    process: Option<Process>,
    fill: Option<Fill>,
    words: Option<StatusWords>,
    /// Never unloaded: its objects of C++ and of threads may outlive whoever loaded it.
    _loaded: ManuallyDrop<libloading::Library>,
}

/// How pixels lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Surface {
    pub(super) format: u32,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    /// From row to row.
    pub(super) stride_px: u32,
    /// That `height_px` rows take, their padding and planes of color included.
    pub(super) bytes: u64,
}

/// A buffer that the device knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Imported {
    handle: NonZeroU32,
    surface: Surface,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left_px: u32,
    pub(super) top_px: u32,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
}

/// A call that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The library lacks the function.
    Missing(&'static str),
    /// The buffer has fewer bytes than its rows need.
    Short { bytes: u64 },
    /// The library's own answer.
    Status { call: &'static str, status: i32, words: String },
}

impl Library {
    /// Loads the library `name`, as the dynamic linker finds it.
    ///
    /// # Errors
    /// The linker's words, when it is not there or is not for this machine.
    pub(super) fn open(name: &OsStr) -> Result<Self, String> {
        // SAFETY: loading runs the library's initializers. It is librga, or what the caller named in its place, which any
        // program may load at any time; it is never unloaded.
        let loaded = unsafe { libloading::Library::new(name) }.map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        // SAFETY: each is the type of the C function of that name in im2d 1.9 and 1.10; `Rga` calls none but `query` before
        // it has seen that the version is one of those, and that one has been so since 1.0.
        let library = unsafe {
            Self {
                query: symbol(&loaded, b"querystring\0"),
                import_fd: symbol(&loaded, b"importbuffer_fd\0"),
                release: symbol(&loaded, b"releasebuffer_handle\0"),
                process: symbol(&loaded, b"improcess\0"),
                fill: symbol(&loaded, b"imfill_t\0"),
                words: symbol(&loaded, b"imStrError_t\0"),
                _loaded: ManuallyDrop::new(loaded),
            }
        };
        Ok(library)
    }

    /// The first function that is needed and not there.
    pub(super) fn lacks(&self) -> Option<&'static str> {
        let needed = [
            ("querystring", self.query.is_some()),
            ("importbuffer_fd", self.import_fd.is_some()),
            ("releasebuffer_handle", self.release.is_some()),
            ("improcess", self.process.is_some()),
            ("imfill_t", self.fill.is_some()),
        ];
        needed.into_iter().find(|(_, is_there)| !is_there).map(|(name, _)| name)
    }

    /// What the library says of its version and the device's.
    pub(super) fn version(&self) -> Option<String> {
        let query = self.query?;
        // SAFETY: any number may be asked about.
        let text = unsafe { query(QUERY_VERSION) };
        // SAFETY: null, or a C string of the library's that stays until its next call on this thread.
        unsafe { copied(text) }
    }

    /// Makes a buffer known to the device, which keeps it until it is released.
    pub(super) fn import(&self, fd: BorrowedFd<'_>, surface: Surface) -> Result<Imported, Refused> {
        let import_fd = self.import_fd.ok_or(Refused::Missing("importbuffer_fd"))?;
        // A DMA-BUF tells its length so; where the offset then is matters to nobody.
        let bytes = rustix::fs::seek(fd, SeekFrom::End(0)).unwrap_or(0);
        if bytes < surface.bytes {
            return Err(Refused::Short { bytes });
        }
        let height = surface.height_px;
        let mut param = HandleParam { width: surface.stride_px, height, format: surface.format };
        // SAFETY: `fd` is open, and `param` lives through the call, which keeps neither.
        let handle = unsafe { import_fd(fd.as_raw_fd(), &raw mut param) };
        let handle = NonZeroU32::new(handle).ok_or_else(|| self.refused("importbuffer_fd", 0))?;
        Ok(Imported { handle, surface })
    }

    /// Lets a buffer go. A copy of `imported` that is used later is refused by the device's driver.
    pub(super) fn release(&self, imported: Imported) {
        if let Some(release) = self.release {
            // SAFETY: a handle of this library's; one that is not is refused. There is nothing to do about a failure.
            unsafe { release(imported.handle.get()) };
        }
    }

    /// Resizes all of `from` into `area` of `to`, its colors turned as `color` says, and waits for it.
    pub(super) fn scale(&self, from: Imported, to: Imported, area: Area, color: u32) -> Result<(), Refused> {
        let process = self.process.ok_or(Refused::Missing("improcess"))?;
        let whole = from.surface;
        let whole = Area { left_px: 0, top_px: 0, width_px: whole.width_px, height_px: whole.height_px };
        let (from_rect, to_rect) = (self.rect(from, whole)?, self.rect(to, area)?);
        let source = Buffer::of(from);
        let target = Buffer { color_space_mode: color.cast_signed(), ..Buffer::of(to) };
        let none = (Buffer::NONE, Rect::default());
        // SAFETY: both buffers are imported and long enough for their rows, and both rectangles lie within them. The target
        // is written by the device as by any process that has its descriptor; the call returns after that.
        let status = unsafe { process(source, target, none.0, from_rect, to_rect, none.1, USAGE_SYNC) };
        self.check("improcess", status)
    }

    /// Fills `area` of `to` with one color, and waits for it.
    pub(super) fn fill(&self, to: Imported, area: Area, [red, green, blue]: [u8; 3]) -> Result<(), Refused> {
        let fill = self.fill.ok_or(Refused::Missing("imfill_t"))?;
        let rect = self.rect(to, area)?;
        let color = c_int::from_le_bytes([red, green, blue, 0xff]);
        // SAFETY: as for `scale`; the last argument asks to wait.
        let status = unsafe { fill(Buffer::of(to), rect, color, 1) };
        self.check("imfill_t", status)
    }

    fn rect(&self, of: Imported, area: Area) -> Result<Rect, Refused> {
        let fits =
            |start: u32, length: u32, side: u32| start.checked_add(length).is_some_and(|end| end <= side);
        let is_within = fits(area.left_px, area.width_px, of.surface.width_px)
            && fits(area.top_px, area.height_px, of.surface.height_px);
        // What the library answers to rectangles outside: `IM_STATUS_ILLEGAL_PARAM`.
        if !is_within {
            return Err(self.refused("a rectangle", -4));
        }
        let [x, y, width, height] =
            [area.left_px, area.top_px, area.width_px, area.height_px].map(u32::cast_signed);
        Ok(Rect { x, y, width, height })
    }

    fn check(&self, call: &'static str, status: c_int) -> Result<(), Refused> {
        if status == SUCCESS { Ok(()) } else { Err(self.refused(call, status)) }
    }

    fn refused(&self, call: &'static str, status: c_int) -> Refused {
        let words = self.words.and_then(|words| {
            // SAFETY: any number may be asked about.
            let text = unsafe { words(status) };
            // SAFETY: null, or a C string of the library's that stays until its next call on this thread.
            unsafe { copied(text) }
        });
        Refused::Status { call, status, words: words.unwrap_or_default().trim().to_owned() }
    }
}

impl Buffer {
    const NONE: Self = Self {
        virtual_address: null_mut(),
        physical_address: null_mut(),
        fd: 0,
        width: 0,
        height: 0,
        wstride: 0,
        hstride: 0,
        format: 0,
        color_space_mode: 0,
        global_alpha: 0,
        rd_mode: 0,
        color: 0,
        color_key: [0; 2],
        nn: [0; 6],
        rop_code: 0,
        handle: 0,
    };

    /// As `wrapbuffer_handle` makes it.
    fn of(Imported { handle, surface }: Imported) -> Self {
        let Surface { format, width_px, height_px, stride_px, .. } = surface;
        Self {
            width: width_px.cast_signed(),
            height: height_px.cast_signed(),
            wstride: stride_px.cast_signed(),
            hstride: height_px.cast_signed(),
            format: format.cast_signed(),
            global_alpha: OPAQUE,
            rd_mode: RASTER,
            handle: handle.get(),
            ..Self::NONE
        }
    }
}

/// `struct dma_buf_sync` of the kernel's `linux/dma-buf.h`.
#[repr(C)]
struct Sync {
    flags: u64,
}

/// `DMA_BUF_IOCTL_SYNC`: `_IOW('b', 0, struct dma_buf_sync)`.
const DMA_BUF_IOCTL_SYNC: libc::Ioctl = 0x4008_6200;
/// `DMA_BUF_SYNC_READ`.
pub(crate) const SYNC_READ: u64 = 1;
/// `DMA_BUF_SYNC_WRITE`.
const SYNC_WRITE: u64 = 2;
/// `DMA_BUF_SYNC_END`.
pub(crate) const SYNC_END: u64 = 4;

/// Tells the kernel that this processor begins to read or write a DMA-BUF, or has ended that, so that its caches are made consistent.
/// Says whether `fd` is a DMA-BUF: nothing happens with other files, which have no such caches.
///
/// # Errors
/// What the driver of the buffer answers.
pub(crate) fn sync(fd: BorrowedFd<'_>, flags: u64) -> io::Result<bool> {
    let mut sync = Sync { flags };
    loop {
        // SAFETY: `fd` is open and `sync` is what this request reads. What is no DMA-BUF knows no such request.
        let status = unsafe { libc::ioctl(fd.as_raw_fd(), DMA_BUF_IOCTL_SYNC, &raw mut sync) };
        if status >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The driver was kept from it, and is to be asked again.
            Some(libc::EINTR | libc::EAGAIN) => {}
            Some(libc::ENOTTY) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Writes back what this processor wrote to a DMA-BUF and still keeps in its caches, so that it cannot be written over what a
/// device writes next.
///
/// # Errors
/// As [`sync`].
pub(super) fn write_back(fd: BorrowedFd<'_>) -> io::Result<()> {
    sync(fd, SYNC_WRITE)?;
    sync(fd, SYNC_END | SYNC_WRITE)?;
    Ok(())
}

/// # Safety
/// `T` is the type of the function that `loaded` has under that name, and is not used once `loaded` is unloaded.
unsafe fn symbol<T: Copy>(loaded: &libloading::Library, name: &[u8]) -> Option<T> {
    // SAFETY: as the caller promises.
    unsafe { loaded.get::<T>(name) }.ok().map(|function| *function)
}

/// # Safety
/// `text` is null or a C string.
unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises, where it is not null.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn what_is_no_dma_buf_has_no_caches() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!sync(file.as_file().as_fd(), SYNC_READ).unwrap());
        write_back(file.as_file().as_fd()).unwrap();
    }

    #[test]
    #[cfg_attr(
        target_arch = "aarch64",
        ignore = "emulators refuse requests they do not know in their own way"
    )]
    fn what_the_kernel_refuses_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // A descriptor that only names the file: nothing can be asked of it.
        let name = File::options().read(true).custom_flags(libc::O_PATH).open(file.path()).unwrap();
        assert_eq!(sync(name.as_fd(), SYNC_READ).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(write_back(name.as_fd()).is_err());
    }
}
