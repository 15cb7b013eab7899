//! From a network to steps over one piece of memory, and running them. What a step does on vectors stands in `simd`.

mod convolution;
mod fuse;
mod place;
mod stem;
mod step;
mod weights;

use std::num::NonZero;

use crate::Unsupported;
use crate::layout::Shape;
use crate::network::Network;
use crate::simd::Isa;
use crate::simd::memory::Memory;
use crate::team;
use place::Places;
use step::{Buffers, Step};

/// A network ready to run: weights packed, memory placed, work divided.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    isa: Isa,
    threads: NonZero<usize>,
    inputs: Vec<Shape>,
    outputs: Vec<Shape>,
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
    /// [`Unsupported`] where images are concatenated that meet within a block of eight channels.
    pub fn new(mut network: Network, isa: Isa, threads: NonZero<usize>) -> Result<Self, Unsupported> {
        let (inputs, outputs) = (network.input_shapes(), network.output_shapes());
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
    /// Where the number of images or their sizes are not the network's, or the workspace is another plan's.
    pub fn run(&self, workspace: &mut Workspace, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
        check(&self.inputs, inputs.iter().map(|input| input.len()));
        check(&self.outputs, outputs.iter().map(|output| output.len()));
        let floats = self.images + self.threads.get() * self.scratch;
        assert_eq!(workspace.0.len(), floats, "the workspace of another plan");
        let outputs: Vec<Memory<'_>> = outputs.iter_mut().map(|output| Memory::of(output)).collect();
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
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
    ) -> Vec<(String, f64, usize)> {
        check(&self.inputs, inputs.iter().map(|input| input.len()));
        check(&self.outputs, outputs.iter().map(|output| output.len()));
        let outputs: Vec<Memory<'_>> = outputs.iter_mut().map(|output| Memory::of(output)).collect();
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

fn check(shapes: &[Shape], lengths: impl ExactSizeIterator<Item = usize>) {
    assert_eq!(shapes.len(), lengths.len(), "number of images");
    for (shape, length) in shapes.iter().zip(lengths) {
        assert_eq!(shape.len(), length, "values of an image");
    }
}
