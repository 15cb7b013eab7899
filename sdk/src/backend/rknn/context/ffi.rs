//! The calls about contexts, behind types that make them sound: a [`Context`] never leaves the thread it was bound to, and
//! is destroyed after those that share its weights. Decides nothing.

use std::cell::Cell;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rknn_sys::{
    rknn_context, rknn_core_mask, rknn_input, rknn_input_output_num, rknn_mem_size, rknn_output,
    rknn_perf_detail, rknn_perf_run, rknn_query_cmd, rknn_run_extend, rknn_sdk_version, rknn_tensor_attr,
    rknn_tensor_format, rknn_tensor_type,
};

use super::weights::{Shared, Weights};
use crate::backend::rknn::failure::{Failing, NpuFailure, at, check};
use crate::backend::rknn::memory::Memory;
use crate::backend::rknn::symbols::{Vendor, function};

type Outcome<T> = Result<T, NpuFailure>;

/// A loaded model. Holds an [`Rc`], so that the compiler keeps it on the thread that made or bound it: the runtime's
/// contexts are not made to be used from several threads.
pub(in crate::backend::rknn) struct Context {
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
pub(in crate::backend::rknn) struct Unbound {
    handle: Handle,
}

/// Destroys the context when the last user of it is gone.
pub(in crate::backend::rknn) struct Handle {
    pub(in crate::backend::rknn) context: rknn_context,
    pub(in crate::backend::rknn) vendor: Arc<Vendor>,
    role: Role,
    /// Whether memory of it stays for good, so that it must stay too.
    is_left: Cell<bool>,
}

enum Role {
    /// Loaded the weights.
    Owner(Arc<Weights>),
    /// Uses those of another context, which is told when this one is gone.
    Sharer(Shared),
}

/// How the bytes of an input are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::rknn) struct InputForm {
    pub(in crate::backend::rknn) kind: rknn_tensor_type,
    pub(in crate::backend::rknn) format: rknn_tensor_format,
    /// Whether the bytes are what the model's first layer takes, without conversion.
    pub(in crate::backend::rknn) pass_through: u8,
}

/// Where the runtime copies an output to.
pub(in crate::backend::rknn) struct Target<'b> {
    /// The runtime's number of the output.
    pub(in crate::backend::rknn) index: u32,
    pub(in crate::backend::rknn) bytes: &'b mut [u8],
    /// 1 for 32-bit floats whatever the output's own type.
    pub(in crate::backend::rknn) want_float: u8,
}

/// What a copy of the outputs works with, reused from frame to frame.
#[derive(Default)]
pub(in crate::backend::rknn) struct Fetch {
    outputs: Vec<rknn_output>,
    /// Bytes that were asked for, output by output.
    sizes: Vec<u32>,
    /// Whether `outputs` were got and the runtime refused to release them.
    is_owed: bool,
}

/// An answer to a query: plain data of C, of which any bits are a value.
pub(in crate::backend::rknn) trait Answer: Copy + Default {}
impl Answer for rknn_input_output_num {}
impl Answer for rknn_tensor_attr {}
impl Answer for rknn_sdk_version {}
impl Answer for rknn_mem_size {}
impl Answer for rknn_perf_run {}
impl Answer for rknn_perf_detail {}

impl Context {
    /// Loads `model` with the flags of `rknn_init`.
    pub(in crate::backend::rknn) fn init(vendor: &Arc<Vendor>, model: &[u8], flags: u32) -> Outcome<Self> {
        let init = function!(vendor, rknn_init)?;
        let size = u32::try_from(model.len()).map_err(|_| NpuFailure::InvalidModel)?;
        // The interface takes a pointer to non-constant data and does not promise to leave it alone.
        let mut model = model.to_vec();
        let mut context: rknn_context = 0;
        // SAFETY: `context` is a place for a handle, `model` is readable and writable for `size` bytes during the call,
        // and no extension is given. Without the zero-copy flag the runtime keeps nothing of the buffer.
        check(unsafe { init(&raw mut context, model.as_mut_ptr().cast(), size, flags, null_mut()) })?;
        let (vendor, role) = (Arc::clone(vendor), Role::Owner(Arc::default()));
        Ok(Self { raw: Rc::new(Handle { context, vendor, role, is_left: Cell::new(false) }) })
    }

    /// Another context of the same model that shares its weights. Only a context that loaded them can share them.
    pub(in crate::backend::rknn) fn duplicate(&self) -> Outcome<Unbound> {
        let Role::Owner(weights) = &self.raw.role else { return Err(NpuFailure::InvalidContext) };
        let duplicate = function!(self.raw.vendor, rknn_dup_context)?;
        let (mut from, mut context): (rknn_context, rknn_context) = (self.raw.context, 0);
        // SAFETY: `from` is a live handle used on its own thread, `context` a place for another.
        check(unsafe { duplicate(&raw mut from, &raw mut context) })?;
        let (vendor, role) = (Arc::clone(&self.raw.vendor), Role::Sharer(weights.share()));
        Ok(Unbound { handle: Handle { context, vendor, role, is_left: Cell::new(false) } })
    }

    /// Waits until no other context uses the weights that this one loaded, so that it can be destroyed.
    pub(in crate::backend::rknn) fn wait_until_unshared(&self) {
        if let Role::Owner(weights) = &self.raw.role {
            weights.wait_until_unshared();
        }
    }

    /// The context itself, for memory that belongs to it.
    pub(in crate::backend::rknn) fn handle(&self) -> &Rc<Handle> {
        &self.raw
    }

    /// Asks for what `command` names, of input or output `ask.index` where it is about one.
    pub(in crate::backend::rknn) fn query<T: Answer>(
        &self,
        command: rknn_query_cmd,
        mut ask: T,
    ) -> Outcome<T> {
        let query = function!(self.raw.vendor, rknn_query)?;
        #[expect(clippy::cast_possible_truncation, reason = "the structs are of some hundred bytes")]
        let size = size_of::<T>() as u32;
        // SAFETY: the handle is live; `ask` is writable for `size` bytes and of a type that any bits are a value of.
        check(unsafe { query(self.raw.context, command, (&raw mut ask).cast(), size) })?;
        Ok(ask)
    }

    /// The table of layer times that the runtime keeps for [`rknn_query_cmd::RKNN_QUERY_PERF_DETAIL`].
    pub(in crate::backend::rknn) fn layer_times(&self) -> Outcome<String> {
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
    pub(in crate::backend::rknn) fn set_core_mask(&self, mask: u32) -> Outcome<()> {
        let set = function!(self.raw.vendor, rknn_set_core_mask)?;
        // SAFETY: the handle is live; the mask is plain data that the runtime checks.
        check(unsafe { set(self.raw.context, rknn_core_mask(mask)) })
    }

    /// Binds `memory`, of this context, to the input or output that `attr` names, in the form it names.
    pub(in crate::backend::rknn) fn set_io(
        &self,
        memory: &Memory,
        attr: &mut rknn_tensor_attr,
    ) -> Outcome<()> {
        let set = function!(self.raw.vendor, rknn_set_io_mem)?;
        // SAFETY: handle and memory are live and belong together, and the worker keeps both until the context is
        // destroyed; `attr` is read during the call.
        check(unsafe { set(self.raw.context, memory.raw(), attr) })
    }

    /// Runs the model and waits for it. The runtime itself gives up after `timeout`, of which it knows whole milliseconds
    /// and takes 0 for no limit.
    pub(in crate::backend::rknn) fn run(&self, timeout: Duration) -> Outcome<()> {
        let run = function!(self.raw.vendor, rknn_run)?;
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
        let mut extend = rknn_run_extend { frame_id: 0, non_block: 0, timeout_ms, fence_fd: -1 };
        // SAFETY: the handle is live, `extend` is writable, and every buffer bound to the context outlives the call.
        check(unsafe { run(self.raw.context, &raw mut extend) })
    }

    /// Hands over the model's only input by copy.
    pub(in crate::backend::rknn) fn set_input(&self, bytes: &mut [u8], form: InputForm) -> Outcome<()> {
        let set = function!(self.raw.vendor, rknn_inputs_set)?;
        let size = u32::try_from(bytes.len()).map_err(|_| NpuFailure::OutOfMemory)?;
        let InputForm { kind, format, pass_through } = form;
        let buf = bytes.as_mut_ptr().cast();
        let mut input = rknn_input { index: 0, buf, size, pass_through, type_: kind, fmt: format };
        // SAFETY: one input is given, whose buffer is valid for its size; the runtime copies it before it returns.
        check(unsafe { set(self.raw.context, 1, &raw mut input) })
    }

    /// Copies all outputs into `targets`, which are given in any order and asked for in the model's.
    pub(in crate::backend::rknn) fn get_outputs<'b>(
        &self,
        targets: impl Iterator<Item = Target<'b>>,
        fetch: &mut Fetch,
    ) -> Result<(), Failing> {
        const CALL: &str = "rknn_outputs_get";
        self.release_owed(fetch)?;
        let get = function!(self.raw.vendor, rknn_outputs_get).map_err(at(CALL))?;
        fetch.fill(targets).map_err(at(CALL))?;
        let count = fetch.count();
        // SAFETY: `count` outputs are given, each with a buffer of ours that is valid for its size until we return.
        let got = check(unsafe { get(self.raw.context, count, fetch.outputs.as_mut_ptr(), null_mut()) });
        if let Err(failure) = got {
            fetch.outputs.clear();
            return Err(failure.at(CALL));
        }
        let short = fetch.short();
        fetch.is_owed = true;
        self.release_owed(fetch)?;
        short.map_or(Ok(()), |short| Err(short.at(CALL)))
    }

    /// Releases what was got and is not released yet. Where the runtime refuses, the next call tries again.
    pub(in crate::backend::rknn) fn release_owed(&self, fetch: &mut Fetch) -> Result<(), Failing> {
        if !fetch.is_owed {
            return Ok(());
        }
        let release = function!(self.raw.vendor, rknn_outputs_release).map_err(at("rknn_outputs_release"))?;
        // SAFETY: outputs that were got and not released; their buffers are ours, so the runtime frees none.
        let released = check(unsafe { release(self.raw.context, fetch.count(), fetch.outputs.as_mut_ptr()) });
        fetch.is_owed = released.is_err();
        // No pointer is kept beyond the buffers it points to.
        fetch.outputs.iter_mut().for_each(|output| output.buf = null_mut());
        released.map_err(at("rknn_outputs_release"))
    }
}

impl Fetch {
    fn fill<'b>(&mut self, targets: impl Iterator<Item = Target<'b>>) -> Outcome<()> {
        self.outputs.clear();
        for Target { index, bytes, want_float } in targets {
            let size = u32::try_from(bytes.len()).map_err(|_| NpuFailure::InvalidOutput)?;
            let buf = bytes.as_mut_ptr().cast();
            self.outputs.push(rknn_output { want_float, is_prealloc: 1, index, buf, size });
        }
        // Whether every runtime looks at the numbers is not known.
        self.outputs.sort_unstable_by_key(|output| output.index);
        self.sizes.clear();
        self.sizes.extend(self.outputs.iter().map(|output| output.size));
        Ok(())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.outputs.len()).unwrap_or(u32::MAX)
    }

    /// The first output of which the runtime says that it wrote less than was asked for.
    fn short(&self) -> Option<NpuFailure> {
        let mut sizes = self.outputs.iter().map(|output| output.size).zip(&self.sizes);
        let (given, &needed) = sizes.find(|(given, needed)| given < needed)?;
        Some(NpuFailure::ShortOutput { given, needed })
    }
}

impl Unbound {
    /// Makes this thread the one that uses the context.
    pub(in crate::backend::rknn) fn bind(self) -> Context {
        Context { raw: Rc::new(self.handle) }
    }
}

impl Handle {
    /// Says that memory of the context stays for good. Then so do the context and the weights that it uses.
    pub(in crate::backend::rknn) fn leave(&self) {
        if !self.is_left.replace(true) {
            // The library, which mapped that memory, is never unloaded.
            std::mem::forget(Arc::clone(&self.vendor));
        }
    }

    /// Whether nothing needs the context any more.
    fn may_go(&self) -> bool {
        // Weights must not go while another context uses them: rather leak the context than risk that.
        let is_shared = matches!(&self.role, Role::Owner(weights) if weights.is_shared());
        !is_shared && !self.is_left.get()
    }

    fn destroy(&self) -> Outcome<()> {
        let destroy = function!(self.vendor, rknn_destroy)?;
        // SAFETY: only called while the handle is dropped, and not where memory of it was left: it is live, this is its last
        // user, and all its memory is freed (each holds this handle).
        check(unsafe { destroy(self.context) })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without the function the context stays, as where the runtime refuses.
        if self.may_go() && self.destroy().is_ok() {
            return;
        }
        self.vendor.note_unfreed();
        if let Role::Sharer(weights) = &self.role {
            weights.keep();
        }
    }
}
