//! From a network to steps over one piece of memory, and running them. What a step does on vectors stands in `simd`.

mod convolution;
mod fuse;
mod image;
pub mod int8;
mod place;
mod stem;
mod step;
mod weights;

use std::num::NonZero;

use crate::Unsupported;
use crate::layout::{Kind, Shape};
use crate::network::Network;
use crate::simd::Isa;
use crate::simd::memory::Memory;
use crate::team;
use image::{Buffers, Wanted, check};
pub use image::{Given, Taken};
use place::Places;
use step::Step;

/// A network ready to run: weights packed, memory placed, work divided.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    isa: Isa,
    threads: NonZero<usize>,
    inputs: Vec<(Shape, Kind)>,
    outputs: Vec<(Shape, Kind)>,
    /// Floats of the images.
    images: usize,
    /// Floats that each worker has for itself.
    scratch: usize,
}

/// The memory of a run; runs at the same time need one each.
#[derive(Debug)]
pub struct Workspace(Vec<f32>);

impl Plan {
    /// Plans `network` for `threads` threads of a processor that has `isa`.
    ///
    /// # Errors
    /// [`Unsupported`] where images meet within a block of channels: eight of floats, sixteen of stored values.
    pub fn new(mut network: Network, isa: Isa, threads: NonZero<usize>) -> Result<Self, Unsupported> {
        let (inputs, outputs) = (network.input_forms(), network.output_forms());
        fuse::fuse(&mut network);
        stem::convert_inputs(&mut network);
        let places = Places::of(&network)?;
        let steps = step::steps(&network, &places, threads)?;
        let scratch = steps.iter().map(Step::scratch).max().unwrap_or(0);
        Ok(Self { steps, isa, threads, inputs, outputs, images: places.floats, scratch })
    }

    /// Memory for runs.
    pub fn workspace(&self) -> Workspace {
        Workspace(vec![0.0; self.images + self.threads.get() * self.scratch])
    }

    /// Runs the network. Inputs and outputs lie plane by plane, in the order of the network's.
    ///
    /// # Panics
    /// Where the number of images, their kinds or sizes are not the network's, or the workspace is another plan's.
    pub fn run(&self, workspace: &mut Workspace, inputs: &[Given<'_>], outputs: &mut [Taken<'_>]) {
        check(&self.inputs, inputs.iter().map(Given::form));
        check(&self.outputs, outputs.iter().map(Taken::form));
        let floats = self.images + self.threads.get() * self.scratch;
        assert_eq!(workspace.0.len(), floats, "the workspace of another plan");
        let outputs: Vec<Wanted<'_>> = outputs.iter_mut().map(Taken::shared).collect();
        let buffers = Buffers { memory: Memory::of(&mut workspace.0), inputs, outputs: &outputs };
        let items: Vec<usize> = self.steps.iter().map(Step::items).collect();
        team::run(self.threads, &items, |step, item, worker| {
            let scratch = self.images + worker * self.scratch;
            self.steps[step].run(self.isa, item, &buffers, scratch);
        });
    }

    /// What each step is called, how many seconds it took on one thread, and its multiplications and additions,
    /// counted without what is saved. For benchmarks.
    ///
    /// # Panics
    /// As [`Plan::run`].
    pub fn profile(
        &self,
        workspace: &mut Workspace,
        inputs: &[Given<'_>],
        outputs: &mut [Taken<'_>],
    ) -> Vec<(String, f64, usize)> {
        check(&self.inputs, inputs.iter().map(Given::form));
        check(&self.outputs, outputs.iter().map(Taken::form));
        let outputs: Vec<Wanted<'_>> = outputs.iter_mut().map(Taken::shared).collect();
        let buffers = Buffers { memory: Memory::of(&mut workspace.0), inputs, outputs: &outputs };
        let timed = self.steps.iter().map(|step| {
            let started = std::time::Instant::now();
            for item in 0..step.items() {
                step.run(self.isa, item, &buffers, self.images);
            }
            (step.name(), started.elapsed().as_secs_f64(), step.flops())
        });
        timed.collect()
    }
}
