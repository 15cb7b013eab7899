//! The stand-in of `librga.so`: the functions of its C interface that are used, done by plain loops over memory that is
//! mapped from the descriptors, and judged: what the real one must not be given counts as misuse. All else of it is missing.
//! Its state is the loaded file's own, so that a test that loads a copy has it for itself (see `stand_in::rga`).

mod picture;
mod state;

use std::ffi::{c_char, c_int, c_void};

use state::{Image, Misuse, with};

/// `rga_buffer_t`, written down a second time, so that a slip in the caller's is found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    addresses: [*mut c_void; 2],
    fd: c_int,
    width: c_int,
    height: c_int,
    wstride: c_int,
    hstride: c_int,
    format: c_int,
    color_space_mode: c_int,
    global_alpha: c_int,
    rd_mode: c_int,
    legacy: [c_int; 10],
    handle: u32,
}

/// `im_rect`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    x: c_int,
    y: c_int,
    width: c_int,
    height: c_int,
}

/// `im_handle_param_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HandleParam {
    width: u32,
    height: u32,
    format: u32,
}

const SUCCESS: c_int = 1;
const FAILED: c_int = 0;
const ILLEGAL: c_int = -4;
const QUERY_VERSION: c_int = 1;
const USAGE_SYNC: c_int = 1 << 19;

/// `querystring`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn querystring(name: c_int) -> *const c_char {
    if name != QUERY_VERSION {
        with(|state| state.misused());
        return std::ptr::null();
    }
    with(|state| state.version.as_ptr())
}

/// `imStrError_t`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn imStrError_t(_status: c_int) -> *const c_char {
    c"the stand-in says no".as_ptr()
}

/// `importbuffer_fd`.
///
/// # Safety
/// `param` is null or points to what it says.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn importbuffer_fd(fd: c_int, param: *mut HandleParam) -> u32 {
    // SAFETY: as the caller promises.
    let Some(param) = (unsafe { param.as_ref() }).copied() else { return 0 };
    with(|state| {
        if state.fails() {
            return 0;
        }
        let [width, height] = [param.width, param.height].map(|side| usize::try_from(side).unwrap_or(0));
        let Some(image) = Image::map(fd, width, height, param.format) else {
            state.misused();
            return 0;
        };
        state.keep(image)
    })
}

/// `releasebuffer_handle`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn releasebuffer_handle(handle: u32) -> c_int {
    with(|state| {
        if state.release(handle) {
            return SUCCESS;
        }
        state.misused();
        ILLEGAL
    })
}

/// `imfill_t`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn imfill_t(to: Buffer, rect: Rect, color: c_int, sync: c_int) -> c_int {
    with(|state| {
        if state.fails() {
            return FAILED;
        }
        let [red, green, blue, _] = color.to_le_bytes();
        let done = to.wanted(rect).and_then(|wanted| {
            let is_waited_for = sync == 1;
            let image = state.image(to.handle, wanted.surface).filter(|_| is_waited_for).ok_or(Misuse)?;
            image.fill(wanted.rect, [red, green, blue])
        });
        state.judge(done, [SUCCESS, ILLEGAL])
    })
}

/// `improcess`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn improcess(
    from: Buffer,
    to: Buffer,
    pattern: Buffer,
    from_rect: Rect,
    to_rect: Rect,
    pattern_rect: Rect,
    usage: c_int,
) -> c_int {
    with(|state| {
        if state.fails() {
            return FAILED;
        }
        let no_rect = Rect { x: 0, y: 0, width: 0, height: 0 };
        let whole = Rect { x: 0, y: 0, width: from.width, height: from.height };
        let is_plain =
            pattern.is_nothing() && pattern_rect == no_rect && usage == USAGE_SYNC && from_rect == whole;
        let done = from.wanted(from_rect).and_then(|source| {
            let wanted = to.wanted(to_rect)?;
            let picture = state.image(from.handle, source.surface).filter(|_| is_plain).ok_or(Misuse)?;
            let picture = picture.read(to.color_space_mode)?;
            let target = state.image(to.handle, wanted.surface).ok_or(Misuse)?;
            target.place(wanted.rect, &picture)
        });
        state.judge(done, [SUCCESS, ILLEGAL])
    })
}

/// What a call wants of a buffer.
struct Wanted {
    /// Width, height and stride in pixels, and the format.
    surface: [usize; 4],
    /// Left, top, width and height.
    rect: [usize; 4],
}

impl Buffer {
    /// What is asked of it, where the real one may be asked for that.
    fn wanted(&self, rect: Rect) -> Result<Wanted, Misuse> {
        let side = |value: c_int| usize::try_from(value).map_err(|_| Misuse);
        let [width, height, stride, format] =
            [side(self.width)?, side(self.height)?, side(self.wstride)?, side(self.format)?];
        let rect = [side(rect.x)?, side(rect.y)?, side(rect.width)?, side(rect.height)?];
        let is_imported =
            self.handle != 0 && self.addresses.iter().all(|address| address.is_null()) && self.fd == 0;
        let is_aligned = stride.is_multiple_of(16) && stride >= width && self.hstride == self.height;
        let is_usual = self.global_alpha == 0xff && self.rd_mode == 1 && self.legacy == [0; 10];
        let is_within = rect[0] + rect[2] <= width
            && rect[1] + rect[3] <= height
            && rect[2..].iter().all(|side| *side >= 2);
        let is_right = is_imported && is_aligned && is_usual && is_within;
        is_right.then_some(Wanted { surface: [width, height, stride, format], rect }).ok_or(Misuse)
    }

    fn is_nothing(&self) -> bool {
        let numbers = [self.fd, self.width, self.height, self.wstride, self.hstride, self.format];
        self.handle == 0 && numbers == [0; 6] && self.addresses.iter().all(|address| address.is_null())
    }
}

/// Handles that are not released.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_rga_handles() -> u32 {
    with(|state| state.handles())
}

/// Calls that the real one must not be given.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_rga_misuses() -> u32 {
    with(|state| state.misuses)
}

/// Frames that were resized.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_rga_done() -> u32 {
    with(|state| state.done)
}

/// Has all imports, fills and resizes fail but the next `count`.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_rga_fail_after(count: u32) {
    with(|state| state.left = Some(count));
}

/// Has it be version 1.`minor`.0.
// SAFETY: the only symbol of this name in the library, which is loaded for tests only.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_rga_set_minor(minor: u32) {
    with(|state| state.set_minor(minor));
}
