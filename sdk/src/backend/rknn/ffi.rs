//! The only calls into the NPU's runtime, behind types that make them sound: a [`Context`] never leaves the thread it was
//! bound to, [`Memory`] never outlives its context and is never freed while it is [`Lent`] out. Decides nothing.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rknn_sys::{
    Library, rknn_context, rknn_core_mask, rknn_input, rknn_input_output_num, rknn_mem_size,
    rknn_mem_sync_mode, rknn_output, rknn_perf_detail, rknn_perf_run, rknn_query_cmd, rknn_run_extend,
    rknn_sdk_version, rknn_tensor_attr, rknn_tensor_format, rknn_tensor_mem, rknn_tensor_type,
};

use super::failure::NpuFailure;
use super::weights::{Shared, Weights};

type Outcome<T> = Result<T, NpuFailure>;

/// The function of this name, or the failure that the library lacks it.
macro_rules! function {
    ($library:expr, $name:ident) => {
        match &$library.table().$name {
            Ok(function) => Ok(*function),
            Err(_) => Err(NpuFailure::MissingFunction(stringify!($name))),
        }
    };
}

/// Whether the library has the functions of this name.
macro_rules! has {
    ($library:expr, $($name:ident),+) => { $( $library.table().$name.is_ok() )&&+ };
}

/// Whether inputs and outputs can lie in memory that the NPU reaches.
pub(super) fn can_zero_copy(library: &Library) -> bool {
    has!(library, rknn_create_mem, rknn_destroy_mem, rknn_set_io_mem, rknn_run)
}

/// Whether the runtime copies inputs and outputs itself.
pub(super) fn can_copy(library: &Library) -> bool {
    has!(library, rknn_inputs_set, rknn_outputs_get, rknn_outputs_release, rknn_run)
}

/// A loaded model. Holds an [`Rc`], so that the compiler keeps it on the thread that made or bound it: the runtime's
/// contexts are not made to be used from several threads.
pub(super) struct Context {
    raw: Rc<Handle>,
}

/// Does not compile once `T` may be sent to another thread: then both implementations of `Stays` would apply.
const fn stays_on_its_thread<T: Stays<A>, A>() {}
trait Stays<A> {}
impl<T> Stays<()> for T {}
impl<T: Send> Stays<u8> for T {}
const _: () = stays_on_its_thread::<Context, _>();
const _: () = stays_on_its_thread::<Memory, _>();

/// A context that nothing has been done with yet, on its way to the thread that will use it.
pub(super) struct Unbound {
    handle: Handle,
}

/// Destroys the context when the last user of it is gone.
struct Handle {
    context: rknn_context,
    library: Arc<Library>,
    role: Role,
}

enum Role {
    /// Loaded the weights.
    Owner(Arc<Weights>),
    /// Uses those of another context, which is told when this one is gone.
    Sharer { _weights: Shared },
}

/// Memory that the NPU reaches.
pub(super) struct Memory {
    raw: NonNull<rknn_tensor_mem>,
    context: Rc<Handle>,
    start: NonNull<u8>,
    bytes: usize,
    is_lent: Cell<bool>,
    _mapping: Option<Mapping>,
}

/// The bytes of a [`Memory`] on loan to whoever fills or reads them, on any thread. There is at most one for each memory,
/// and the memory stays until it is given back.
pub(super) struct Lent {
    start: NonNull<u8>,
    bytes: usize,
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
pub(super) enum Direction {
    /// What the host wrote becomes visible to the NPU.
    ToDevice,
    /// What the NPU wrote becomes visible to the host.
    FromDevice,
}

/// How the bytes of an input are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputForm {
    pub(super) kind: rknn_tensor_type,
    pub(super) format: rknn_tensor_format,
    /// Whether the bytes are what the model's first layer takes, without conversion.
    pub(super) pass_through: u8,
}

/// Where the runtime copies an output to.
pub(super) struct Target<'b> {
    /// The runtime's number of the output.
    pub(super) index: u32,
    pub(super) bytes: &'b mut [u8],
    /// 1 for 32-bit floats whatever the output's own type.
    pub(super) want_float: u8,
}

/// An answer to a query: plain data of C, of which any bits are a value.
pub(super) trait Answer: Copy + Default {}
impl Answer for rknn_input_output_num {}
impl Answer for rknn_tensor_attr {}
impl Answer for rknn_sdk_version {}
impl Answer for rknn_mem_size {}
impl Answer for rknn_perf_run {}
impl Answer for rknn_perf_detail {}

fn check(code: i32) -> Outcome<()> {
    if code == rknn_sys::RKNN_SUCC.cast_signed() { Ok(()) } else { Err(NpuFailure::from_code(code)) }
}

impl Context {
    /// Loads `model` with the flags of `rknn_init`.
    pub(super) fn init(library: &Arc<Library>, model: &[u8], flags: u32) -> Outcome<Self> {
        let init = function!(library, rknn_init)?;
        let size = u32::try_from(model.len()).map_err(|_| NpuFailure::InvalidModel)?;
        // The interface takes a pointer to non-constant data and does not promise to leave it alone.
        let mut model = model.to_vec();
        let mut context: rknn_context = 0;
        // SAFETY: `context` is a place for a handle, `model` is readable and writable for `size` bytes during the call,
        // and no extension is given. Without the zero-copy flag the runtime keeps nothing of the buffer.
        check(unsafe { init(&raw mut context, model.as_mut_ptr().cast(), size, flags, null_mut()) })?;
        let (library, role) = (Arc::clone(library), Role::Owner(Arc::default()));
        Ok(Self { raw: Rc::new(Handle { context, library, role }) })
    }

    /// Another context of the same model that shares its weights. Only a context that loaded them can share them.
    pub(super) fn duplicate(&self) -> Outcome<Unbound> {
        let Role::Owner(weights) = &self.raw.role else { return Err(NpuFailure::InvalidContext) };
        let duplicate = function!(self.raw.library, rknn_dup_context)?;
        let (mut from, mut context): (rknn_context, rknn_context) = (self.raw.context, 0);
        // SAFETY: `from` is a live handle used on its own thread, `context` a place for another.
        check(unsafe { duplicate(&raw mut from, &raw mut context) })?;
        let (library, role) = (Arc::clone(&self.raw.library), Role::Sharer { _weights: weights.share() });
        Ok(Unbound { handle: Handle { context, library, role } })
    }

    /// Waits until no other context uses the weights that this one loaded, so that it can be destroyed.
    pub(super) fn wait_until_unshared(&self) {
        if let Role::Owner(weights) = &self.raw.role {
            weights.wait_until_unshared();
        }
    }

    /// Asks for what `command` names, of input or output `ask.index` where it is about one.
    pub(super) fn query<T: Answer>(&self, command: rknn_query_cmd, mut ask: T) -> Outcome<T> {
        let query = function!(self.raw.library, rknn_query)?;
        #[expect(clippy::cast_possible_truncation, reason = "the structs are of some hundred bytes")]
        let size = size_of::<T>() as u32;
        // SAFETY: the handle is live; `ask` is writable for `size` bytes and of a type that any bits are a value of.
        check(unsafe { query(self.raw.context, command, (&raw mut ask).cast(), size) })?;
        Ok(ask)
    }

    /// The table of layer times that the runtime keeps for [`rknn_query_cmd::RKNN_QUERY_PERF_DETAIL`].
    pub(super) fn layer_times(&self) -> Outcome<String> {
        let detail = self.query(rknn_query_cmd::RKNN_QUERY_PERF_DETAIL, rknn_perf_detail::default())?;
        let Ok(bytes) = usize::try_from(detail.data_len) else { return Ok(String::new()) };
        if detail.perf_data.is_null() {
            return Ok(String::new());
        }
        // SAFETY: the runtime gave a text of that length, which it keeps until the context's next call.
        let text = unsafe { std::slice::from_raw_parts(detail.perf_data.cast::<u8>(), bytes) };
        Ok(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    }

    /// Restricts the context to the cores of `mask`.
    pub(super) fn set_core_mask(&self, mask: u32) -> Outcome<()> {
        let set = function!(self.raw.library, rknn_set_core_mask)?;
        // SAFETY: the handle is live; the mask is plain data that the runtime checks.
        check(unsafe { set(self.raw.context, rknn_core_mask(mask)) })
    }

    /// Binds `memory`, of this context, to the input or output that `attr` names, in the form it names.
    pub(super) fn set_io(&self, memory: &Memory, attr: &mut rknn_tensor_attr) -> Outcome<()> {
        let set = function!(self.raw.library, rknn_set_io_mem)?;
        // SAFETY: handle and memory are live and belong together, and the worker keeps both until the context is
        // destroyed; `attr` is read during the call.
        check(unsafe { set(self.raw.context, memory.raw.as_ptr(), attr) })
    }

    /// Runs the model and waits for it. The runtime itself gives up after `timeout`.
    pub(super) fn run(&self, timeout: Duration) -> Outcome<()> {
        let run = function!(self.raw.library, rknn_run)?;
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let mut extend = rknn_run_extend { frame_id: 0, non_block: 0, timeout_ms, fence_fd: -1 };
        // SAFETY: the handle is live, `extend` is writable, and every buffer bound to the context outlives the call.
        check(unsafe { run(self.raw.context, &raw mut extend) })
    }

    /// Hands over the model's only input by copy.
    pub(super) fn set_input(&self, bytes: &mut [u8], form: InputForm) -> Outcome<()> {
        let set = function!(self.raw.library, rknn_inputs_set)?;
        let size = u32::try_from(bytes.len()).map_err(|_| NpuFailure::InvalidInput)?;
        let InputForm { kind, format, pass_through } = form;
        let mut input = rknn_input {
            index: 0,
            buf: bytes.as_mut_ptr().cast(),
            size,
            pass_through,
            type_: kind,
            fmt: format,
        };
        // SAFETY: one input is given, whose buffer is valid for its size; the runtime copies it before it returns.
        check(unsafe { set(self.raw.context, 1, &raw mut input) })
    }

    /// Copies all outputs into `targets`. `outputs` is reused from frame to frame.
    pub(super) fn get_outputs<'b>(
        &self,
        targets: impl Iterator<Item = Target<'b>>,
        outputs: &mut Vec<rknn_output>,
    ) -> Outcome<()> {
        let get = function!(self.raw.library, rknn_outputs_get)?;
        let release = function!(self.raw.library, rknn_outputs_release)?;
        outputs.clear();
        for Target { index, bytes, want_float } in targets {
            let size = u32::try_from(bytes.len()).map_err(|_| NpuFailure::InvalidOutput)?;
            outputs.push(rknn_output {
                want_float,
                is_prealloc: 1,
                index,
                buf: bytes.as_mut_ptr().cast(),
                size,
            });
        }
        let count = u32::try_from(outputs.len()).map_err(|_| NpuFailure::InvalidOutput)?;
        // SAFETY: `count` outputs are given, each with a buffer of ours that is valid for its size until we return.
        let got = check(unsafe { get(self.raw.context, count, outputs.as_mut_ptr(), null_mut()) });
        if got.is_ok() {
            // SAFETY: the outputs just got, released once; their buffers are ours, so the runtime frees none.
            check(unsafe { release(self.raw.context, count, outputs.as_mut_ptr()) })?;
        }
        // No pointer is kept beyond the buffers it points to.
        outputs.clear();
        got
    }
}

impl Unbound {
    /// Makes this thread the one that uses the context.
    pub(super) fn bind(self) -> Context {
        Context { raw: Rc::new(self.handle) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Weights must not go while another context uses them: rather leak the context than risk that.
        if matches!(&self.role, Role::Owner(weights) if weights.is_shared()) {
            return;
        }
        if let Ok(destroy) = function!(self.library, rknn_destroy) {
            // SAFETY: the handle is live, this is its last user, and all its memory is freed (each holds this handle).
            unsafe { destroy(self.context) };
        }
    }
}

impl Memory {
    /// Allocates at least `bytes` that both sides reach.
    pub(super) fn create(context: &Context, bytes: usize) -> Outcome<Self> {
        let create = function!(context.raw.library, rknn_create_mem)?;
        let size = u32::try_from(bytes).map_err(|_| NpuFailure::OutOfMemory)?;
        // SAFETY: the handle is live; the result is checked before it is used.
        let raw = unsafe { create(context.raw.context, size) };
        Self::own(context, raw, bytes, None)
    }

    /// Imports `bytes` from `offset` of the buffer behind `fd`, which must stay open as long as this lives.
    pub(super) fn import(context: &Context, fd: &OwnedFd, bytes: usize, offset: usize) -> Outcome<Self> {
        let create = function!(context.raw.library, rknn_create_mem_from_fd)?;
        let whole = bytes.checked_add(offset).ok_or(NpuFailure::InvalidInput)?;
        let mapping = Mapping::new(fd, whole).ok_or(NpuFailure::InvalidInput)?;
        let size = u32::try_from(bytes).map_err(|_| NpuFailure::InvalidInput)?;
        let signed_offset = i32::try_from(offset).map_err(|_| NpuFailure::InvalidInput)?;
        let address = mapping.start.as_ptr().cast::<c_void>();
        // SAFETY: the handle is live, `fd` is open, and `address` is its mapping of at least `offset + size` bytes, which
        // this memory keeps until it is destroyed.
        let raw = unsafe { create(context.raw.context, fd.as_raw_fd(), address, size, signed_offset) };
        Self::own(context, raw, bytes, Some(mapping))
    }

    fn own(
        context: &Context,
        raw: *mut rknn_tensor_mem,
        bytes: usize,
        mapping: Option<Mapping>,
    ) -> Outcome<Self> {
        let raw = NonNull::new(raw).ok_or(NpuFailure::OutOfMemory)?;
        // SAFETY: the runtime gave a pointer to a struct that it keeps until the memory is destroyed.
        let (address, size) = unsafe { ((*raw.as_ptr()).virt_addr, (*raw.as_ptr()).size) };
        let start = NonNull::new(address.cast::<u8>());
        let memory = Self {
            raw,
            context: Rc::clone(&context.raw),
            start: start.unwrap_or(NonNull::dangling()),
            bytes,
            is_lent: Cell::new(false),
            _mapping: mapping,
        };
        let is_whole = start.is_some() && usize::try_from(size).is_ok_and(|size| size >= bytes);
        // Dropped, and so destroyed, where it is too short to be used.
        is_whole.then_some(memory).ok_or(NpuFailure::OutOfMemory)
    }

    /// Lends the bytes; none while they are lent.
    pub(super) fn lend(&self) -> Option<Lent> {
        let is_free = !self.is_lent.replace(true);
        is_free.then_some(Lent { start: self.start, bytes: self.bytes })
    }

    /// Takes back what [`Memory::lend`] gave; another memory's bytes are passed over, and stay lent.
    pub(super) fn take_back(&self, lent: Lent) {
        if lent.start == self.start {
            self.is_lent.set(false);
        }
    }

    /// Makes caches consistent. Does nothing where the runtime cannot: such a runtime does it by itself.
    pub(super) fn sync(&self, direction: Direction) -> Outcome<()> {
        let Ok(sync) = function!(self.context.library, rknn_mem_sync) else { return Ok(()) };
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
            // Somebody can still write to it: it stays for good, and so does its context.
            std::mem::forget(Rc::clone(&self.context));
            std::mem::forget(self._mapping.take());
            return;
        }
        if let Ok(destroy) = function!(self.context.library, rknn_destroy_mem) {
            // SAFETY: handle and memory are live and belong together; nobody holds the bytes, and the context is not
            // run again with this memory bound.
            unsafe { destroy(self.context.context, self.raw.as_ptr()) };
        }
    }
}

impl Lent {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is mapped for that many bytes while it is lent, and its only access from Rust is this
        // value; the NPU does not write while the value is outside of its worker, nor does a worker read while it does.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// The bytes, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and the value is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Mapping {
    fn new(fd: &OwnedFd, bytes: usize) -> Option<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the result is checked. Its pages are only handed
        // to the runtime, never read as Rust memory.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Self { start: NonNull::new(start.cast())?, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, and no longer used: the memory that used it is destroyed before its fields.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A text in a field of C's characters, up to its end or its first zero.
pub(super) fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
