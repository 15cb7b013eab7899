//! Contexts by their handles: who may use each, what is bound to it, and what the last run gave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::ThreadId;

use rknn_sys::{rknn_context, rknn_tensor_attr, rknn_tensor_mem};

use crate::Kind;
use crate::compute::{Engine, Frame};
use crate::device::{self, Device, lock};
use crate::model::Model;
use crate::scenario::Scenario;

/// A loaded model, shared by contexts that share weights.
pub(crate) struct Loaded {
    pub(crate) scenario: Scenario,
    pub(crate) engine: Engine,
    pub(crate) device: Arc<Device>,
    pub(crate) kind: Kind,
}

pub(crate) struct Context {
    pub(crate) handle: u64,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) state: Mutex<State>,
    /// Flags of the `rknn_init` that it, or the one it was duplicated from, came from.
    pub(crate) flags: u32,
    /// The context whose weights it shares.
    parent: Option<u64>,
    owner: Mutex<Option<ThreadId>>,
    is_in_use: AtomicBool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) core_mask: u32,
    pub(crate) input: Option<Bound>,
    pub(crate) outputs: Vec<Option<Bound>>,
    /// Handed over by copy, as the model's dense bytes, and their real values, channels outermost.
    pub(crate) copied: Option<(Vec<u8>, Vec<f32>)>,
    pub(crate) last: Option<Arc<Frame>>,
    /// What the next run shows, where runs are asynchronous.
    pub(crate) coming: Option<Arc<Frame>>,
    pub(crate) held_outputs: u64,
    pub(crate) last_run_us: i64,
}

/// A memory bound to an input or output.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) memory: *mut rknn_tensor_mem,
    pub(crate) attr: rknn_tensor_attr,
}

// SAFETY: the pointer is only ever looked up in the table of memories, never followed.
unsafe impl Send for Bound {}

/// A context in use by one call.
pub(crate) struct Use {
    pub(crate) context: Arc<Context>,
}

static CONTEXTS: LazyLock<Mutex<HashMap<u64, Arc<Context>>>> = LazyLock::new(Mutex::default);

/// Loads a model; its context belongs to this thread. None where it is no stand-in model, or too new for the runtime.
pub(crate) fn load(file: &[u8], kind: Kind) -> Option<Arc<Loaded>> {
    let (model, format) = (Model::unpack(file)?, Model::format(file)?);
    let device = device::of(&model.scenario);
    if format > model.scenario.newest_format {
        eprintln!("E RKNN: Invalid RKNN model version {format}");
        return None;
    }
    let engine = Engine::new(&model)?;
    Some(Arc::new(Loaded { scenario: model.scenario, engine, device, kind }))
}

/// Where a new context comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'c> {
    /// `rknn_init` with these flags: it is this thread's.
    Model(u32),
    /// Another context: it is the thread's that first uses it.
    Duplicate(&'c Context),
}

/// Makes a context and gives its handle.
pub(crate) fn insert(loaded: &Arc<Loaded>, origin: Origin<'_>) -> rknn_context {
    let mut contexts = lock(&CONTEXTS);
    // Never 0, and never one that was there before.
    static NEXT: Mutex<u64> = Mutex::new(0);
    let handle = {
        let mut next = lock(&NEXT);
        *next += 1;
        *next
    };
    let (owner, flags, parent) = match origin {
        Origin::Model(flags) => (Some(std::thread::current().id()), flags, None),
        Origin::Duplicate(from) => (None, from.flags, Some(from.handle)),
    };
    let outputs = vec![None; loaded.scenario.outputs.len()];
    let context = Context {
        handle,
        loaded: Arc::clone(loaded),
        state: Mutex::new(State { outputs, ..State::default() }),
        flags,
        parent,
        owner: Mutex::new(owner),
        is_in_use: AtomicBool::new(false),
    };
    contexts.insert(handle, Arc::new(context));
    let mut counters = loaded.device.counters();
    counters.contexts += 1;
    counters.contexts_made += 1;
    to_handle(handle)
}

/// Takes a context out; what still uses it keeps it alive.
pub(crate) fn remove(handle: rknn_context) -> Option<Arc<Context>> {
    lock(&CONTEXTS).remove(&from_handle(handle))
}

/// How many contexts share the weights that `handle` loaded.
pub(crate) fn sharers_of(handle: u64) -> usize {
    lock(&CONTEXTS).values().filter(|context| context.parent == Some(handle)).count()
}

/// Enters a context with `call`: notes a use from a second thread, and one while another is under way.
pub(crate) fn enter(handle: rknn_context, call: &'static str) -> Option<Use> {
    let context = lock(&CONTEXTS).get(&from_handle(handle)).cloned()?;
    if context.is_in_use.swap(true, Ordering::AcqRel) {
        let text = format!("{call} on context {} while another call is in it", context.handle);
        context.loaded.device.violation(text);
    }
    let here = std::thread::current().id();
    let owner = *lock(&context.owner).get_or_insert(here);
    if owner != here {
        context.loaded.device.violation(format!("{call} on context {} from a second thread", context.handle));
    }
    Some(Use { context })
}

impl Drop for Use {
    fn drop(&mut self) {
        self.context.is_in_use.store(false, Ordering::Release);
    }
}

#[allow(clippy::unnecessary_fallible_conversions, reason = "handles are narrower on 32-bit machines")]
fn to_handle(number: u64) -> rknn_context {
    rknn_context::try_from(number).unwrap_or(rknn_context::MAX)
}

#[allow(clippy::useless_conversion, reason = "handles are narrower on 32-bit machines")]
fn from_handle(handle: rknn_context) -> u64 {
    u64::from(handle)
}
