//! From a network to steps over one piece of memory, and running them. What a step does on vectors stands in `simd`.

mod convolution;
mod costs;
mod emit;
mod entry;
mod fuse;
mod image;
pub mod int8;
mod place;
mod stem;
mod step;
mod weights;

use std::mem;
use std::num::NonZero;

use crate::Unsupported;
use crate::aligned::{self, Aligned};
use crate::layout::{Kind, Shape};
use crate::network::Network;
use crate::simd::Isa;
use crate::simd::memory::Memory;
use crate::team::Team;
use costs::Costs;
use image::{Buffers, Wanted, check, emptied};
pub use image::{Given, Taken};
use place::Places;
use step::Step;

/// What a plan is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    isa: Isa,
    threads: NonZero<usize>,
}

/// A network ready to run: weights packed, memory placed, work divided.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    isa: Isa,
    threads: NonZero<usize>,
    inputs: Vec<(Shape, Kind)>,
    outputs: Vec<(Shape, Kind)>,
    /// Number of items of each step.
    items: Vec<usize>,
    /// Floats of the images.
    images: usize,
    /// Floats that each worker has for itself.
    scratch: usize,
}

/// The memory and the threads of a run; runs at the same time need one each. The threads are started by the first run, and anew
/// where another thread runs; between runs they sleep. From the second run on a thread, nothing is allocated.
#[derive(Debug)]
pub struct Workspace {
    floats: Aligned<f32>,
    /// Memory for the list of outputs, empty between runs.
    wanted: Vec<Wanted<'static>>,
    team: Team,
}

impl Plan {
    /// Plans `network` for `threads` threads of a processor that has `isa`.
    ///
    /// # Errors
    /// [`Unsupported`] where images meet within a block of channels: eight of floats, sixteen of stored values.
    pub fn new(mut network: Network, isa: Isa, threads: NonZero<usize>) -> Result<Self, Unsupported> {
        let (inputs, outputs) = (network.input_forms(), network.output_forms());
        fuse::fuse(&mut network);
        stem::convert_inputs(&mut network, &Costs::of(isa));
        let places = Places::of(&network)?;
        let steps = step::steps(&network, &places, Machine { isa, threads })?;
        let scratch = steps.iter().map(Step::scratch).max().unwrap_or(0);
        let items = steps.iter().map(Step::items).collect();
        // What a worker has for itself begins with a cache line, too.
        let [images, scratch] = [places.floats, scratch].map(aligned::whole_lines);
        Ok(Self { steps, isa, threads, inputs, outputs, items, images, scratch })
    }

    /// Memory for runs.
    pub fn workspace(&self) -> Workspace {
        Workspace {
            floats: Aligned::zeroed(self.floats()),
            wanted: Vec::new(),
            team: Team::new(self.threads),
        }
    }

    /// Floats of a workspace.
    fn floats(&self) -> usize {
        self.images + self.threads.get() * self.scratch
    }

    /// Runs the network. Inputs and outputs lie plane by plane, in the order of the network's.
    ///
    /// # Panics
    /// Where the number of images, their kinds or sizes are not the network's, or the workspace is another plan's.
    pub fn run<'a>(
        &self,
        workspace: &mut Workspace,
        inputs: &[Given<'_>],
        outputs: impl IntoIterator<Item = Taken<'a>>,
    ) {
        let Workspace { floats, wanted, team } = workspace;
        // Each worker writes to memory of its own, of which there is as much as this plan has threads: with more of them, the
        // last would write behind the end.
        assert_eq!(team.workers(), self.threads, "the workspace of another plan");
        self.with_buffers(floats, wanted, inputs, outputs, |buffers| {
            team.run(&self.items, |step, item, worker| {
                let scratch = self.images + worker * self.scratch;
                self.steps[step].run(self.isa, item, buffers, scratch);
            });
        });
    }

    /// What each step is called, how many seconds it took on one thread, and its multiplications and additions,
    /// counted without what is saved. For benchmarks.
    ///
    /// # Panics
    /// As [`Plan::run`].
    pub fn profile<'a>(
        &self,
        workspace: &mut Workspace,
        inputs: &[Given<'_>],
        outputs: impl IntoIterator<Item = Taken<'a>>,
    ) -> Vec<(String, f64, usize)> {
        let Workspace { floats, wanted, .. } = workspace;
        self.with_buffers(floats, wanted, inputs, outputs, |buffers| {
            let timed = self.steps.iter().map(|step| {
                let started = std::time::Instant::now();
                for item in 0..step.items() {
                    step.run(self.isa, item, buffers, self.images);
                }
                (step.name(), started.elapsed().as_secs_f64(), step.flops())
            });
            timed.collect()
        })
    }

    /// Checks the images of a run and hands them to `run`.
    fn with_buffers<'a, T>(
        &self,
        floats: &mut [f32],
        wanted: &mut Vec<Wanted<'static>>,
        inputs: &[Given<'_>],
        outputs: impl IntoIterator<Item = Taken<'a>>,
        run: impl FnOnce(&Buffers<'_>) -> T,
    ) -> T {
        assert_eq!(floats.len(), self.floats(), "the workspace of another plan");
        let mut listed: Vec<Wanted<'a>> = mem::take(wanted);
        listed.extend(outputs.into_iter().map(Taken::shared));
        check(&self.inputs, inputs.iter().map(Given::form));
        check(&self.outputs, listed.iter().map(Wanted::form));
        let result = run(&Buffers { memory: Memory::of(floats), inputs, outputs: &listed });
        *wanted = emptied(listed);
        result
    }
}
