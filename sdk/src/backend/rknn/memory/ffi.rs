//! The calls about memory, behind types that make them sound: [`Memory`] never outlives its context, nor an imported buffer
//! the descriptor it came by, and none is freed while it is [`Lent`] out. Decides nothing.

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;
use std::sync::Arc;

use rknn_sys::{rknn_mem_sync_mode, rknn_tensor_mem};

use crate::backend::rknn::context::{Context, Handle};
use crate::backend::rknn::failure::{NpuFailure, check};
use crate::backend::rknn::slot::Imported;
use crate::backend::rknn::symbols::function;

type Outcome<T> = Result<T, NpuFailure>;

/// Memory that the NPU reaches.
pub(in crate::backend::rknn) struct Memory {
    raw: NonNull<rknn_tensor_mem>,
    context: Rc<Handle>,
    start: NonNull<u8>,
    bytes: usize,
    /// Where its first byte is that of a DMA-BUF, which the runtime keeps open until the memory is destroyed.
    dma: Option<RawFd>,
    is_lent: Cell<bool>,
    /// Goes after the memory is destroyed, which needs mapping and descriptor until then.
    import: Option<Import>,
}

/// What memory of another device rests on.
struct Import {
    _mapping: Mapping,
    device: Arc<Imported>,
}

/// The bytes of a [`Memory`] on loan to whoever fills or reads them, on any thread. There is at most one for each memory,
/// and the memory stays until it is given back.
pub(in crate::backend::rknn) struct Lent {
    start: NonNull<u8>,
    bytes: usize,
    dma: Option<RawFd>,
}

// SAFETY: a `Lent` is the only access to its bytes from Rust, whichever thread holds it, and the memory behind it is
// not freed while it exists.
unsafe impl Send for Lent {}

/// A buffer of another device, imported by its file descriptor, as this process sees it.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

/// In which direction caches are made consistent.
#[derive(Clone, Copy)]
pub(in crate::backend::rknn) enum Direction {
    /// What the host wrote becomes visible to the NPU.
    ToDevice,
    /// What the NPU wrote becomes visible to the host.
    FromDevice,
}

impl Memory {
    /// Allocates at least `bytes` that both sides reach.
    pub(in crate::backend::rknn) fn create(context: &Context, bytes: usize) -> Outcome<Self> {
        let handle = context.handle();
        let create = function!(handle.vendor, rknn_create_mem)?;
        let size = u32::try_from(bytes).map_err(|_| NpuFailure::OutOfMemory)?;
        // SAFETY: the handle is live; the result is checked before it is used.
        let raw = unsafe { create(handle.context, size) };
        Self::own(context, raw, bytes, None)
    }

    /// Imports memory of another device, all of it that `device` names.
    pub(in crate::backend::rknn) fn import(context: &Context, device: &Arc<Imported>) -> Outcome<Self> {
        let handle = context.handle();
        let create = function!(handle.vendor, rknn_create_mem_from_fd)?;
        let Imported { fd, bytes, offset, .. } = &**device;
        // A fault of the frame, like memory that the kernel does not map: the runtime has not been asked yet.
        let too_large = NpuFailure::Unmappable { errno: libc::EOVERFLOW };
        let whole = bytes.checked_add(*offset).ok_or(too_large)?;
        let mapping = Mapping::new(fd, whole)?;
        let size = u32::try_from(*bytes).map_err(|_| too_large)?;
        let signed_offset = i32::try_from(*offset).map_err(|_| too_large)?;
        let address = mapping.start.as_ptr().cast::<c_void>();
        // SAFETY: the handle is live, `fd` is open, and `address` is its mapping of at least `offset + size` bytes; this
        // memory keeps both until it is destroyed.
        let raw = unsafe { create(handle.context, fd.as_raw_fd(), address, size, signed_offset) };
        let import = Import { _mapping: mapping, device: Arc::clone(device) };
        Self::own(context, raw, *bytes, Some(import))
    }

    fn own(
        context: &Context,
        raw: *mut rknn_tensor_mem,
        bytes: usize,
        import: Option<Import>,
    ) -> Outcome<Self> {
        let raw = NonNull::new(raw).ok_or(NpuFailure::OutOfMemory)?;
        // SAFETY: the runtime gave a pointer to a struct that it keeps until the memory is destroyed.
        let rknn_tensor_mem { virt_addr: address, size, fd, offset, .. } = unsafe { raw.as_ptr().read() };
        let start = NonNull::new(address.cast::<u8>());
        let memory = Self {
            raw,
            context: Rc::clone(context.handle()),
            start: start.unwrap_or(NonNull::dangling()),
            bytes,
            // 0 is what a runtime without them leaves there.
            dma: Some(fd).filter(|fd| *fd > 0 && offset == 0),
            is_lent: Cell::new(false),
            import,
        };
        let is_whole = start.is_some() && usize::try_from(size).is_ok_and(|size| size >= bytes);
        // Dropped, and so destroyed, where it is too short to be used.
        is_whole.then_some(memory).ok_or(NpuFailure::OutOfMemory)
    }

    /// The runtime's name of the memory, valid as long as this lives.
    pub(in crate::backend::rknn) fn raw(&self) -> *mut rknn_tensor_mem {
        self.raw.as_ptr()
    }

    /// The device's memory that this is, where it was imported.
    pub(in crate::backend::rknn) fn device(&self) -> Option<&Arc<Imported>> {
        self.import.as_ref().map(|import| &import.device)
    }

    /// Lends the bytes; none while they are lent.
    pub(in crate::backend::rknn) fn lend(&self) -> Option<Lent> {
        let is_free = !self.is_lent.replace(true);
        is_free.then_some(Lent { start: self.start, bytes: self.bytes, dma: self.dma })
    }

    /// Takes back what [`Memory::lend`] gave; another memory's bytes are passed over, and stay lent.
    #[expect(clippy::needless_pass_by_value, reason = "who gives it back must not have it any more")]
    pub(in crate::backend::rknn) fn take_back(&self, lent: Lent) {
        if lent.start == self.start {
            self.is_lent.set(false);
        }
    }

    /// Makes caches consistent. Does nothing where the runtime cannot: such a runtime does it by itself.
    pub(in crate::backend::rknn) fn sync(&self, direction: Direction) -> Outcome<()> {
        let Ok(sync) = function!(self.context.vendor, rknn_mem_sync) else { return Ok(()) };
        let mode = match direction {
            Direction::ToDevice => rknn_mem_sync_mode::RKNN_MEMORY_SYNC_TO_DEVICE,
            Direction::FromDevice => rknn_mem_sync_mode::RKNN_MEMORY_SYNC_FROM_DEVICE,
        };
        // SAFETY: handle and memory are live and belong together.
        check(unsafe { sync(self.context.context, self.raw.as_ptr(), mode) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.is_lent.get() {
            // Its thread ended by a panic, and somebody can still write to it: it stays for good, and its context too.
            std::mem::forget(self.import.take());
            self.context.leave();
            self.context.vendor.note_unfreed();
            return;
        }
        if let Ok(destroy) = function!(self.context.vendor, rknn_destroy_mem) {
            // SAFETY: handle and memory are live and belong together; nobody holds the bytes, and the context is not
            // run again with this memory bound.
            if check(unsafe { destroy(self.context.context, self.raw.as_ptr()) }).is_err() {
                self.context.vendor.note_unfreed();
            }
        }
    }
}

impl Lent {
    /// The bytes.
    pub(in crate::backend::rknn) fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is mapped for that many bytes while it is lent, and its only access from Rust is this
        // value; the NPU does not write while the value is outside of its worker, nor does a worker read while it does.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// The DMA-BUF that the bytes are the first of, to be filled by another device.
    pub(in crate::backend::rknn) fn dma(&mut self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the runtime keeps the descriptor open until the memory is destroyed, which is not while this is lent.
        self.dma.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// The bytes, to be filled.
    pub(in crate::backend::rknn) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and the value is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Mapping {
    fn new(fd: &OwnedFd, bytes: usize) -> Outcome<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the result is checked. Its pages are only handed
        // to the runtime, never read as Rust memory.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        let start = NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED);
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
        start.map(|start| Self { start, bytes }).ok_or_else(|| NpuFailure::Unmappable { errno: errno() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, and no longer used: the memory that used it is destroyed before its fields.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
