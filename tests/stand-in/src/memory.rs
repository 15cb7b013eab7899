//! Memory that "the NPU" reaches: a file in memory, so that it has a descriptor that can leak, and where the caller keeps
//! caches, a second copy that only `rknn_mem_sync` makes equal.

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::{Arc, LazyLock, Mutex};

use rknn_sys::rknn_tensor_mem;

use crate::device::lock;

struct Memory {
    /// What the interface shows of it; its address is the memory's name.
    shown: Box<rknn_tensor_mem>,
    owner: u64,
    /// What the NPU sees, where that is not what the host sees.
    behind_cache: Option<Vec<u8>>,
    /// Length of the mapping to undo; 0 where it is the caller's.
    mapped: usize,
    /// What an imported descriptor stood for when it was imported.
    imported: Option<FileId>,
}

/// Which file a descriptor stands for: its device and its number there.
type FileId = (libc::dev_t, libc::ino_t);

/// All memories by their addresses; each is used only under its own lock.
static MEMORIES: LazyLock<Mutex<HashMap<usize, Arc<Mutex<Memory>>>>> = LazyLock::new(Mutex::default);

/// Who keeps caches, for new memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Transparent,
    Separate,
}

/// What is wrong with a pointer that a caller gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no memory, or no longer.
    Unknown,
    /// It is another context's.
    Foreign,
}

/// Makes memory of `bytes`, of which `shown_bytes` are admitted; null where the system has none.
pub(crate) fn create(owner: u64, bytes: usize, shown_bytes: u32, cache: Cache) -> *mut rknn_tensor_mem {
    // SAFETY: a name that is a C string, and no flags.
    let fd = unsafe { libc::memfd_create(c"stand-in".as_ptr(), 0) };
    let Some(length) = libc::off_t::try_from(bytes.max(1)).ok().filter(|_| fd >= 0) else {
        return null_mut();
    };
    // SAFETY: `fd` is the file just made; a mapping of its whole length at an address of the kernel's choice.
    let start = unsafe {
        libc::ftruncate(fd, length);
        libc::mmap(null_mut(), bytes.max(1), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)
    };
    if start == libc::MAP_FAILED {
        // SAFETY: the file just made.
        unsafe { libc::close(fd) };
        return null_mut();
    }
    let shown = rknn_tensor_mem {
        virt_addr: start,
        phys_addr: 0,
        fd,
        offset: 0,
        size: shown_bytes,
        flags: 1,
        priv_data: null_mut(),
    };
    insert(
        Memory { shown: Box::new(shown), owner, behind_cache: None, mapped: bytes.max(1), imported: None },
        cache,
    )
}

/// Imports the caller's mapping.
pub(crate) fn import(
    owner: u64,
    fd: i32,
    start: *mut c_void,
    size: u32,
    offset: i32,
) -> *mut rknn_tensor_mem {
    // As the real one: the address it shows is that of the tensor, the caller gave that of the buffer.
    let shown = rknn_tensor_mem {
        virt_addr: start.wrapping_byte_offset(isize::try_from(offset).unwrap_or(0)),
        phys_addr: 0,
        fd,
        offset,
        size,
        flags: 2,
        priv_data: null_mut(),
    };
    let (shown, imported) = (Box::new(shown), file_of(fd));
    insert(Memory { shown, owner, behind_cache: None, mapped: 0, imported }, Cache::Transparent)
}

/// The file that a descriptor stands for; none when it is closed.
fn file_of(fd: i32) -> Option<FileId> {
    let mut about = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `about` is writable memory of the right type; any number may be asked about.
    let found = unsafe { libc::fstat(fd, about.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid `stat`, which the call may have filled in.
    let about = unsafe { about.assume_init() };
    (found == 0).then_some((about.st_dev, about.st_ino))
}

/// Whether a memory of `owner` was imported by a descriptor that no longer stands for the same file.
pub(crate) fn has_lost_its_file(owner: u64, pointer: *mut rknn_tensor_mem) -> bool {
    let is_lost =
        |memory: &mut Memory| memory.imported.is_some() && file_of(memory.shown.fd) != memory.imported;
    with(owner, pointer, is_lost).unwrap_or(false)
}

fn insert(mut memory: Memory, cache: Cache) -> *mut rknn_tensor_mem {
    memory.behind_cache = (cache == Cache::Separate).then(|| vec![0; memory.shown.size as usize]);
    let pointer: *mut rknn_tensor_mem = &raw mut *memory.shown;
    lock(&MEMORIES).insert(pointer.addr(), Arc::new(Mutex::new(memory)));
    pointer
}

/// Frees what [`create`] or [`import`] gave to `owner`.
pub(crate) fn destroy(owner: u64, pointer: *mut rknn_tensor_mem) -> Result<(), Wrong> {
    with(owner, pointer, |_| ())?;
    let removed = lock(&MEMORIES).remove(&pointer.addr()).ok_or(Wrong::Unknown)?;
    let memory = lock(&removed);
    if memory.mapped > 0 {
        // SAFETY: exactly what `create` mapped and opened; a caller that still uses it has been told not to.
        unsafe {
            libc::munmap(memory.shown.virt_addr, memory.mapped);
            libc::close(memory.shown.fd);
        }
    }
    Ok(())
}

/// How many memories `owner` has.
pub(crate) fn owned_by(owner: u64) -> usize {
    lock(&MEMORIES).values().filter(|memory| lock(memory).owner == owner).count()
}

/// Size of a memory of `owner`.
pub(crate) fn size(owner: u64, pointer: *mut rknn_tensor_mem) -> Result<usize, Wrong> {
    with(owner, pointer, |memory| memory.shown.size as usize)
}

/// Makes what the NPU sees what the host sees, or the other way round.
pub(crate) fn sync(owner: u64, pointer: *mut rknn_tensor_mem, mode: u32) -> Result<(), Wrong> {
    with(owner, pointer, |memory| {
        let host = memory.host();
        let Some(npu) = &mut memory.behind_cache else { return };
        if mode & 1 != 0 {
            npu.copy_from_slice(host);
        }
        if mode & 2 != 0 {
            host.copy_from_slice(npu);
        }
    })
}

/// The bytes as the NPU reads and writes them.
pub(crate) fn npu<T>(
    owner: u64,
    pointer: *mut rknn_tensor_mem,
    use_bytes: impl FnOnce(&mut [u8]) -> T,
) -> Result<T, Wrong> {
    with(owner, pointer, |memory| {
        let host = memory.host();
        use_bytes(memory.behind_cache.as_deref_mut().unwrap_or(host))
    })
}

fn with<T>(
    owner: u64,
    pointer: *mut rknn_tensor_mem,
    work: impl FnOnce(&mut Memory) -> T,
) -> Result<T, Wrong> {
    let memory = lock(&MEMORIES).get(&pointer.addr()).cloned().ok_or(Wrong::Unknown)?;
    let mut memory = lock(&memory);
    if memory.owner == owner { Ok(work(&mut memory)) } else { Err(Wrong::Foreign) }
}

impl Memory {
    fn host<'a>(&self) -> &'a mut [u8] {
        // SAFETY: mapped for `size` bytes until it is destroyed, which happens under the lock that is held while this
        // is used. As on a real chip, the caller must leave the bytes alone meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.shown.virt_addr.cast::<u8>(), self.shown.size as usize) }
    }
}

// SAFETY: the pointers are to mappings that belong to no thread; all use is under the lock.
unsafe impl Send for Memory {}
