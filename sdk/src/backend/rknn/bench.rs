//! What a worker works with: its context and all memory of it. Lives on the worker's thread from start to end.

use std::sync::Arc;
use std::time::Duration;

use rknn_sys::{rknn_input_output_num, rknn_mem_size, rknn_perf_run, rknn_query_cmd, rknn_tensor_attr};

use super::buffers::{Buffer, Buffers, Home, Output};
use super::context::{Context, Fetch, Target, Unbound};
use super::failure::{Failing, NpuFailure, at};
use super::imports::Imports;
use super::memory::{Direction, Memory};
use super::options::LayerTiming;
use super::plan::{Attributes, Path, Paths, Plan, Wanted, too_many_tensors};
use super::slot::{Imported, Slot};
use super::symbols::Vendor;
use super::versions::Versions;
use super::worker::{Request, Source};
use crate::Error;

/// Outputs of a model; detectors have two for each stride at most.
const MAX_OUTPUTS: u32 = 64;

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
    imports: Imports,
    sets: Vec<MemorySet>,
    context: Context,
    plan: Plan,
    bound: Option<Bound>,
    /// Reused for every frame.
    fetch: Fetch,
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
        vendor: &Vendor,
        request: &Request,
        wanted: &Wanted,
        versions: &Versions,
    ) -> Result<Self, Error> {
        let attributes = attributes(&context, wanted, versions)?;
        let paths = Paths { zero_copy: vendor.can_zero_copy(), copied: vendor.can_copy() };
        let plan = Plan::new(&attributes, &request.input, &request.outputs, wanted, paths)?;
        let (imports, fetch, timing) = (Imports::new(), Fetch::default(), request.timing);
        Ok(Self { imports, sets: Vec::new(), context, plan, bound: None, fetch, timing })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes `count` sets of buffers and puts them into `home`.
    pub(super) fn allocate(&mut self, home: &Home, count: usize) -> Result<(), Failing> {
        for index in 0..count {
            let buffers = match self.plan.path {
                Path::ZeroCopy => self.allocate_shared(index).map_err(at("rknn_create_mem"))?,
                Path::Copied => self.allocate_own(index),
            };
            home.stock(buffers);
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
        let buffers = Buffers {
            index,
            input: lend(&input)?,
            is_cached: false,
            outputs: lent.collect::<Result<_, _>>()?,
        };
        self.sets.push(MemorySet { input, outputs });
        Ok(buffers)
    }

    fn allocate_own(&self, index: usize) -> Buffers {
        let output = |bytes| Output { raw: Buffer::zeroed(bytes), converted: None };
        let outputs = self.plan.outputs.iter().map(|plan| output(plan.bytes));
        Buffers {
            index,
            input: Buffer::zeroed(self.plan.input.bytes),
            is_cached: false,
            outputs: outputs.collect(),
        }
    }

    /// Runs one frame.
    pub(super) fn run(&mut self, slot: &mut Slot, source: &Source, timeout: Duration) -> Result<(), Failing> {
        let Some(buffers) = slot.buffers() else { return Err(NpuFailure::InvalidInput.at("a slot")) };
        match (self.plan.path, source) {
            (Path::ZeroCopy, _) => self.run_shared(buffers, source, timeout)?,
            (Path::Copied, Source::Slot) => self.run_copied(buffers, timeout)?,
            // Not over whatever the slot holds.
            (Path::Copied, Source::Imported(_)) => {
                return Err(NpuFailure::NotZeroCopy.at("the imported buffer"));
            }
        }
        for (plan, output) in self.plan.outputs.iter().zip(&mut buffers.outputs) {
            plan.convert(output);
        }
        Ok(())
    }

    fn run_shared(
        &mut self,
        buffers: &mut Buffers,
        source: &Source,
        timeout: Duration,
    ) -> Result<(), Failing> {
        let import = match source {
            Source::Slot => None,
            Source::Imported(device) => Some(device),
        };
        self.bind(buffers.index, import)?;
        let set = &self.sets[buffers.index];
        if import.is_none() {
            // Memory of another device is kept consistent by that device's driver.
            set.input.sync(Direction::ToDevice).map_err(at("rknn_mem_sync"))?;
            buffers.is_cached = false;
        }
        self.context.run(timeout).map_err(at("rknn_run"))?;
        for output in &set.outputs {
            output.sync(Direction::FromDevice).map_err(at("rknn_mem_sync"))?;
        }
        Ok(())
    }

    /// Binds a set, its input being that of another device where one is given, unless it is bound already.
    fn bind(&mut self, index: usize, import: Option<&Arc<Imported>>) -> Result<(), Failing> {
        let wanted = Bound { set: index, import: import.map(|device| device.id) };
        if self.bound == Some(wanted) {
            return Ok(());
        }
        self.bound = None;
        if let Some(device) = import.filter(|device| self.imports.get(device).is_none()) {
            self.imports.add(&self.context, device)?;
        }
        let set = &self.sets[index];
        let input = import.and_then(|device| self.imports.get(device)).unwrap_or(&set.input);
        self.context.set_io(input, &mut self.plan.input.attr).map_err(at("rknn_set_io_mem"))?;
        for (memory, plan) in set.outputs.iter().zip(&mut self.plan.outputs) {
            self.context.set_io(memory, &mut plan.attr).map_err(at("rknn_set_io_mem"))?;
        }
        self.bound = Some(wanted);
        Ok(())
    }

    fn run_copied(&mut self, buffers: &mut Buffers, timeout: Duration) -> Result<(), Failing> {
        let set = self.context.set_input(buffers.input.bytes_mut(), self.plan.input.form);
        set.map_err(at("rknn_inputs_set"))?;
        self.context.run(timeout).map_err(at("rknn_run"))?;
        let plans = self.plan.outputs.iter();
        let targets = buffers.outputs.iter_mut().zip(plans).map(|(output, plan)| {
            let want_float = u8::from(plan.spec.dtype == artifact::DType::F32);
            Target { index: plan.attr.index, bytes: output.raw.bytes_mut(), want_float }
        });
        self.context.get_outputs(targets, &mut self.fetch)
    }

    /// What the runtime says about memory and time.
    pub(super) fn usage(&self) -> Result<Usage, Failing> {
        let size = self.context.query(rknn_query_cmd::RKNN_QUERY_MEM_SIZE, rknn_mem_size::default());
        let size = size.map_err(at("rknn_query"))?;
        let run = self.context.query(rknn_query_cmd::RKNN_QUERY_PERF_RUN, rknn_perf_run::default());
        let layers = match self.timing {
            LayerTiming::Off => None,
            LayerTiming::On => Some(self.context.layer_times().map_err(at("rknn_query"))?),
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

    /// Frees everything: the buffers once they are all home, then memory and, once no other context uses its weights, the
    /// context. Waits for as long as somebody holds buffers or shares weights.
    pub(super) fn close(self, home: &Home) {
        for Buffers { index, input, outputs, .. } in home.close() {
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
        let Self { imports, sets, context, mut fetch, .. } = self;
        // Refused once more, nothing is left to be done about it.
        let _ = context.release_owed(&mut fetch);
        drop((imports, sets));
        context.wait_until_unshared();
    }

    /// Contexts for other workers, sharing this one's weights: up to `count`, fewer where the runtime refuses.
    pub(super) fn duplicates(&self, count: usize) -> Vec<Unbound> {
        (0..count).map_while(|_| self.context.duplicate().ok()).collect()
    }
}

/// Everything the runtime says about the model's tensors that the wanted plan needs.
fn attributes(context: &Context, wanted: &Wanted, versions: &Versions) -> Result<Attributes, Error> {
    let failed = |failure: NpuFailure| failure.during("rknn_query", versions);
    let counts = context.query(rknn_query_cmd::RKNN_QUERY_IN_OUT_NUM, rknn_input_output_num::default());
    let rknn_input_output_num { n_input, n_output } = counts.map_err(failed)?;
    if n_input != 1 || !(1..=MAX_OUTPUTS).contains(&n_output) {
        return Err(too_many_tensors(n_input, n_output));
    }
    let ask = |command, index| context.query(command, rknn_tensor_attr { index, ..Default::default() });
    let all = |command| (0..n_output).map(|index| ask(command, index)).collect::<Result<Vec<_>, _>>();
    let mut attributes = Attributes {
        input: ask(rknn_query_cmd::RKNN_QUERY_INPUT_ATTR, 0).map_err(failed)?,
        native_input: None,
        outputs: all(rknn_query_cmd::RKNN_QUERY_OUTPUT_ATTR).map_err(failed)?,
        native_outputs: None,
    };
    if wanted.paths().contains(&Path::ZeroCopy) {
        let input = ask(rknn_query_cmd::RKNN_QUERY_NATIVE_INPUT_ATTR, 0);
        attributes.native_input = if_known(input).map_err(failed)?;
        attributes.native_outputs =
            if_known(all(rknn_query_cmd::RKNN_QUERY_NATIVE_OUTPUT_ATTR)).map_err(failed)?;
    }
    Ok(attributes)
}

/// The answer to a query that an old runtime does not know. Whatever else fails may pass, and says nothing about the model.
fn if_known<T>(answer: Result<T, NpuFailure>) -> Result<Option<T>, NpuFailure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(NpuFailure::InvalidParameter) => Ok(None),
        Err(failure) => Err(failure),
    }
}
