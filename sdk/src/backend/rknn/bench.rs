//! What a worker works with: its context and all memory of it. Lives on the worker's thread from start to end.

use std::sync::Arc;
use std::time::Duration;

use rknn_sys::{
    Library, rknn_input_output_num, rknn_mem_size, rknn_output, rknn_perf_run, rknn_query_cmd,
    rknn_tensor_attr,
};

use super::buffers::{Buffer, Buffers, Home, Output};
use super::failure::{NpuFailure, Versions};
use super::ffi::{self, Context, Direction, Memory, Target, Unbound};
use super::options::LayerTiming;
use super::plan::{Attributes, Path, Paths, Plan};
use super::slot::{Imported, Slot};
use super::worker::{Failing, Request, Source};
use crate::Error;

/// Buffers of other devices that a context keeps imported; a camera has fewer.
const MAX_IMPORTS: usize = 16;

/// What the runtime says about a loaded model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of weights.
    pub weight_bytes: u64,
    /// Bytes of intermediate tensors.
    pub internal_bytes: u64,
    /// Bytes of all memory shared with the NPU.
    pub dma_bytes: u64,
    /// Bytes of SRAM that the chip has and that are free.
    pub sram_bytes: (u64, u64),
    /// Microseconds that the NPU took for the last frame, where it was measured.
    pub last_run_us: Option<u64>,
    /// A table of the layers' times, where [`super::LayerTiming::On`] was asked for.
    pub layers: Option<String>,
}

/// The memory of one set of buffers.
struct MemorySet {
    input: Memory,
    outputs: Vec<Memory>,
}

pub(super) struct Bench {
    // In the order in which they must go: memory, then the context it belongs to.
    imports: Vec<(Arc<Imported>, Memory)>,
    sets: Vec<MemorySet>,
    context: Context,
    plan: Plan,
    bound: Option<Bound>,
    /// Reused for every frame.
    outputs: Vec<rknn_output>,
    timing: LayerTiming,
}

/// What is bound to the context's input and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    set: usize,
    import: Option<u64>,
}

impl Bench {
    /// Asks the runtime about the model and makes the plan.
    pub(super) fn new(
        context: Context,
        library: &Library,
        request: &Request,
        versions: &Versions,
    ) -> Result<Self, Error> {
        let attributes = attributes(&context).map_err(|failure| failure.during("rknn_query", versions))?;
        let paths = Paths { zero_copy: ffi::can_zero_copy(library), copied: ffi::can_copy(library) };
        let plan = Plan::new(&attributes, &request.input, &request.outputs, &request.paths, paths)?;
        let outputs = Vec::with_capacity(plan.outputs.len());
        let (imports, timing) = (Vec::with_capacity(MAX_IMPORTS), request.timing);
        Ok(Self { imports, sets: Vec::new(), context, plan, bound: None, outputs, timing })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes `count` sets of buffers and puts them into `home`.
    pub(super) fn allocate(&mut self, home: &Home, count: usize) -> Result<(), Failing> {
        for index in 0..count {
            let buffers = match self.plan.path {
                Path::ZeroCopy => {
                    self.allocate_shared(index).map_err(|failure| ("rknn_create_mem", failure))?
                }
                Path::Copied => self.allocate_own(index),
            };
            home.bring(buffers);
        }
        Ok(())
    }

    fn allocate_shared(&mut self, index: usize) -> Result<Buffers, NpuFailure> {
        let input = Memory::create(&self.context, self.plan.input.bytes)?;
        let sizes = self.plan.outputs.iter().map(|output| output.bytes);
        let outputs: Vec<Memory> =
            sizes.map(|bytes| Memory::create(&self.context, bytes)).collect::<Result<_, _>>()?;
        let lend = |memory: &Memory| memory.lend().map(Buffer::Lent).ok_or(NpuFailure::OutOfMemory);
        let lent = outputs.iter().zip(&self.plan.outputs).map(|(memory, plan)| {
            Ok(Output { raw: lend(memory)?, converted: plan.converted_bytes().map(Buffer::zeroed) })
        });
        let buffers = Buffers { index, input: lend(&input)?, outputs: lent.collect::<Result<_, _>>()? };
        self.sets.push(MemorySet { input, outputs });
        Ok(buffers)
    }

    fn allocate_own(&self, index: usize) -> Buffers {
        let output = |bytes| Output { raw: Buffer::zeroed(bytes), converted: None };
        let outputs = self.plan.outputs.iter().map(|plan| output(plan.bytes));
        Buffers { index, input: Buffer::zeroed(self.plan.input.bytes), outputs: outputs.collect() }
    }

    /// Runs one frame.
    pub(super) fn run(&mut self, slot: &mut Slot, source: &Source, timeout: Duration) -> Result<(), Failing> {
        let Some(buffers) = slot.buffers() else { return Err(("a slot", NpuFailure::InvalidInput)) };
        match self.plan.path {
            Path::ZeroCopy => self.run_shared(buffers, source, timeout)?,
            Path::Copied if matches!(source, Source::Imported(_)) => {
                return Err(("rknn_create_mem_from_fd", NpuFailure::NotZeroCopy));
            }
            Path::Copied => self.run_copied(buffers, timeout)?,
        }
        for (plan, output) in self.plan.outputs.iter().zip(&mut buffers.outputs) {
            plan.convert(output);
        }
        Ok(())
    }

    fn run_shared(&mut self, buffers: &Buffers, source: &Source, timeout: Duration) -> Result<(), Failing> {
        let import = match source {
            Source::Slot => None,
            Source::Imported(imported) => Some(self.import(imported)?),
        };
        self.bind(buffers.index, import)?;
        let set = &self.sets[buffers.index];
        if import.is_none() {
            // Memory of another device is kept consistent by that device's driver.
            set.input.sync(Direction::ToDevice).map_err(|failure| ("rknn_mem_sync", failure))?;
        }
        self.context.run(timeout).map_err(|failure| ("rknn_run", failure))?;
        for output in &set.outputs {
            output.sync(Direction::FromDevice).map_err(|failure| ("rknn_mem_sync", failure))?;
        }
        Ok(())
    }

    /// Binds a set, unless it is bound already.
    fn bind(&mut self, index: usize, import: Option<usize>) -> Result<(), Failing> {
        let import_id = import.map(|at| self.imports[at].0.id);
        let wanted = Bound { set: index, import: import_id };
        if self.bound == Some(wanted) {
            return Ok(());
        }
        self.bound = None;
        let failed = |failure| ("rknn_set_io_mem", failure);
        let set = &self.sets[index];
        let input = import.map_or(&set.input, |at| &self.imports[at].1);
        self.context.set_io(input, &mut self.plan.input.attr).map_err(failed)?;
        for (memory, plan) in set.outputs.iter().zip(&mut self.plan.outputs) {
            self.context.set_io(memory, &mut plan.attr).map_err(failed)?;
        }
        self.bound = Some(wanted);
        Ok(())
    }

    /// Where in `imports` a buffer of another device is, importing it the first time it is seen.
    fn import(&mut self, imported: &Arc<Imported>) -> Result<usize, Failing> {
        if let Some(at) = self.imports.iter().position(|(known, _)| known.id == imported.id) {
            return Ok(at);
        }
        if imported.bytes < self.plan.input.bytes {
            return Err(("rknn_create_mem_from_fd", NpuFailure::InvalidInput));
        }
        // What nobody else holds any more can never come again.
        self.imports.retain(|(known, _)| Arc::strong_count(known) > 1);
        if self.imports.len() == MAX_IMPORTS {
            self.imports.remove(0);
        }
        self.bound = None;
        let memory = Memory::import(&self.context, &imported.fd, imported.bytes, imported.offset)
            .map_err(|failure| ("rknn_create_mem_from_fd", failure))?;
        self.imports.push((Arc::clone(imported), memory));
        Ok(self.imports.len() - 1)
    }

    fn run_copied(&mut self, buffers: &mut Buffers, timeout: Duration) -> Result<(), Failing> {
        let set = self.context.set_input(buffers.input.bytes_mut(), self.plan.input.form);
        set.map_err(|failure| ("rknn_inputs_set", failure))?;
        self.context.run(timeout).map_err(|failure| ("rknn_run", failure))?;
        let plans = self.plan.outputs.iter();
        let targets = buffers.outputs.iter_mut().zip(plans).map(|(output, plan)| {
            let want_float = u8::from(plan.spec.dtype == artifact::DType::F32);
            Target { index: plan.attr.index, bytes: output.raw.bytes_mut(), want_float }
        });
        let got = self.context.get_outputs(targets, &mut self.outputs);
        got.map_err(|failure| ("rknn_outputs_get", failure))
    }

    /// What the runtime says about memory and time.
    pub(super) fn usage(&self) -> Result<Usage, Failing> {
        let failed = |failure| ("rknn_query", failure);
        let size = self.context.query(rknn_query_cmd::RKNN_QUERY_MEM_SIZE, rknn_mem_size::default());
        let size = size.map_err(failed)?;
        let run = self.context.query(rknn_query_cmd::RKNN_QUERY_PERF_RUN, rknn_perf_run::default());
        let layers = match self.timing {
            LayerTiming::Off => None,
            LayerTiming::On => Some(self.context.layer_times().map_err(failed)?),
        };
        Ok(Usage {
            weight_bytes: size.total_weight_size.into(),
            internal_bytes: size.total_internal_size.into(),
            dma_bytes: size.total_dma_allocated_size,
            sram_bytes: (size.total_sram_size.into(), size.free_sram_size.into()),
            last_run_us: run.ok().and_then(|run| u64::try_from(run.run_duration).ok()).filter(|us| *us > 0),
            layers,
        })
    }

    /// Frees everything: the buffers that are home, once they all are or `patience` is over, then memory and, once no other
    /// context uses its weights, the context. What is still lent out stays, and its context with it.
    pub(super) fn close(self, home: &Home, count: usize, patience: Duration) {
        for Buffers { index, input, outputs } in home.close(count, patience) {
            let Some(set) = self.sets.get(index) else { continue };
            if let Buffer::Lent(lent) = input {
                set.input.take_back(lent);
            }
            for (memory, output) in set.outputs.iter().zip(outputs) {
                if let Buffer::Lent(lent) = output.raw {
                    memory.take_back(lent);
                }
            }
        }
        let Self { imports, sets, context, .. } = self;
        drop((imports, sets));
        context.wait_until_unshared();
    }

    /// Contexts for other workers, sharing this one's weights: up to `count`, fewer where the runtime refuses.
    pub(super) fn duplicates(&self, count: usize) -> Vec<Unbound> {
        (0..count).map_while(|_| self.context.duplicate().ok()).collect()
    }
}

/// Everything the runtime says about the model's tensors.
fn attributes(context: &Context) -> Result<Attributes, NpuFailure> {
    let counts = context.query(rknn_query_cmd::RKNN_QUERY_IN_OUT_NUM, rknn_input_output_num::default())?;
    if counts.n_input != 1 || !(1..=64).contains(&counts.n_output) {
        return Err(NpuFailure::InvalidModel);
    }
    let ask = |command, index| context.query(command, rknn_tensor_attr { index, ..Default::default() });
    let all = |command| (0..counts.n_output).map(|index| ask(command, index)).collect::<Result<Vec<_>, _>>();
    Ok(Attributes {
        input: ask(rknn_query_cmd::RKNN_QUERY_INPUT_ATTR, 0)?,
        native_input: ask(rknn_query_cmd::RKNN_QUERY_NATIVE_INPUT_ATTR, 0).ok(),
        outputs: all(rknn_query_cmd::RKNN_QUERY_OUTPUT_ATTR)?,
        native_outputs: all(rknn_query_cmd::RKNN_QUERY_NATIVE_OUTPUT_ATTR).ok(),
    })
}
