//! What the library knows: imported buffers, and what it is told to do and has seen.

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Something that the real one must not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misuse;

pub(crate) const NV12: u32 = 0x0a << 8;
pub(crate) const YUYV: u32 = 0x1c << 8;
pub(crate) const RGB: u32 = 0x02 << 8;

/// Rows of pixels in mapped memory.
pub(crate) struct Image {
    start: *mut u8,
    bytes: usize,
    pub(crate) height: usize,
    pub(crate) stride: usize,
    pub(crate) format: u32,
    /// Pixels in a row, known from the first call that uses it.
    pub(crate) width: usize,
}

// SAFETY: the mapping is the image's own, and may be used on any thread.
unsafe impl Send for Image {}

pub(crate) struct State {
    images: HashMap<u32, Image>,
    last: u32,
    pub(crate) version: CString,
    pub(crate) misuses: u32,
    pub(crate) done: u32,
    /// Calls until all fail, where they are to.
    pub(crate) left: Option<u32>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
    let mut state = State {
        images: HashMap::new(),
        last: 0,
        version: CString::default(),
        misuses: 0,
        done: 0,
        left: None,
    };
    state.set_minor(10);
    Mutex::new(state)
});

/// Does something with the state.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl State {
    pub(crate) fn set_minor(&mut self, minor: u32) {
        let text = format!("RGA_api version       : v1.{minor}.0_[0]\nRGA version           : stand-in \n");
        self.version = CString::new(text).unwrap_or_default();
    }

    pub(crate) fn misused(&mut self) {
        self.misuses += 1;
    }

    /// Whether this call is one that is to fail.
    pub(crate) fn fails(&mut self) -> bool {
        match &mut self.left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    pub(crate) fn keep(&mut self, image: Image) -> u32 {
        self.last += 1;
        self.images.insert(self.last, image);
        self.last
    }

    pub(crate) fn release(&mut self, handle: u32) -> bool {
        self.images.remove(&handle).is_some()
    }

    pub(crate) fn handles(&self) -> u32 {
        u32::try_from(self.images.len()).unwrap_or(u32::MAX)
    }

    /// The image of a handle, where its stride, height and format are what it was imported with.
    pub(crate) fn image(&mut self, handle: u32, surface: [usize; 4]) -> Option<&mut Image> {
        let [width, height, stride, format] = surface;
        let image = self.images.get_mut(&handle)?;
        let is_same = [image.height, image.stride, image.format as usize] == [height, stride, format];
        image.width = width;
        is_same.then_some(image)
    }

    /// The answer to a call, the first one where it was done.
    pub(crate) fn judge(&mut self, done: Result<Done, Misuse>, [success, illegal]: [c_int; 2]) -> c_int {
        match done {
            Ok(done) => {
                self.done += u32::from(done == Done::Resized);
                success
            }
            Err(Misuse) => {
                self.misused();
                illegal
            }
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Filled,
    Resized,
}

impl Image {
    /// Maps the file behind `fd`; none where it is too short, or of no format that is known.
    pub(crate) fn map(fd: c_int, stride: usize, height: usize, format: u32) -> Option<Self> {
        let bytes = match format {
            NV12 => stride * height * 3 / 2,
            YUYV => stride * height * 2,
            RGB => stride * height * 3,
            _ => return None,
        };
        // SAFETY: any descriptor may be asked where its end is.
        let length = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
        if bytes == 0 || usize::try_from(length).map_or(true, |length| length < bytes) {
            return None;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, within the file; it outlives the descriptor.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, libc::MAP_SHARED, fd, 0) };
        (start != libc::MAP_FAILED).then_some(Self {
            start: start.cast(),
            bytes,
            height,
            stride,
            format,
            width: 0,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for so many bytes as long as this lives. The test that wrote them waits for the call.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and used no more.
        unsafe { libc::munmap(self.start.cast::<c_void>(), self.bytes) };
    }
}
