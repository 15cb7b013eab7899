//! What callers hold of a pool: a [`Slot`] to fill, a [`Finished`] frame to read, and buffers of other devices. Each
//! returns its memory by itself when it is dropped, in any order and on any thread.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use artifact::{DType, Fault, Tensor, TensorData, TensorSpec, TensorView, ViewData};

use super::buffers::{Buffer, Buffers, Home};
use super::plan::Plan;
use crate::Error;
use crate::preprocess::rga::DmaTarget;

/// Room for one frame: an input to fill.
pub struct Slot {
    buffers: Option<Buffers>,
    home: Arc<Home>,
    plan: Arc<Plan>,
    pub(super) worker: usize,
}

/// A frame that the NPU has finished: outputs to read.
pub struct Finished {
    pub(super) slot: Slot,
    /// How long the NPU's runtime took, binding and cache maintenance included.
    pub run: Duration,
    /// How long the frame waited for its core.
    pub queued: Duration,
}

/// Memory of another device, such as a camera or a scaler, that frames can be read from without a copy. Cloning it names
/// the same memory; the file descriptor is closed when the last clone and the last context that uses it are gone.
#[derive(Debug, Clone)]
pub struct DmaBuffer {
    pub(super) inner: Arc<Imported>,
}

#[derive(Debug)]
pub(super) struct Imported {
    pub(super) id: u64,
    pub(super) fd: OwnedFd,
    pub(super) bytes: usize,
    pub(super) offset: usize,
}

impl Slot {
    pub(super) fn new(buffers: Buffers, home: &Arc<Home>, plan: &Arc<Plan>, worker: usize) -> Self {
        Self { buffers: Some(buffers), home: Arc::clone(home), plan: Arc::clone(plan), worker }
    }

    /// Whether the pool that follows `plan` gave it: each pool has a plan of its own.
    pub(super) fn is_of_pool(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    /// Whether its buffers are of the worker whose home this is, so that no other one may use them.
    pub(super) fn is_of_worker(&self, home: &Arc<Home>) -> bool {
        Arc::ptr_eq(&self.home, home)
    }

    /// The pixels to be filled in place, rows of RGB as the model's input specification says; none where the model takes
    /// another type, or its rows are padded in memory: then use [`Slot::write`].
    pub fn pixels(&mut self) -> Option<&mut [u8]> {
        let is_pixels = self.plan.input.spec.dtype == DType::U8 && self.plan.input.is_dense();
        let len = self.plan.input.spec.len();
        let buffers = self.buffers.as_mut().filter(|_| is_pixels)?;
        buffers.is_cached = true;
        buffers.input.bytes_mut().get_mut(..len)
    }

    /// The same pixels for a device that fills them, such as RGA; rows may be padded. None where the model takes another type,
    /// the runtime gives no DMA-BUF, or the processor has written here ([`Slot::pixels`], [`Slot::write`]) since the slot's
    /// last frame was run: what its caches still hold could then be written over what the device writes.
    pub fn dma(&mut self) -> Option<DmaTarget<'_>> {
        let input = &self.plan.input;
        let is_pixels = input.spec.dtype == DType::U8;
        let buffers = self.buffers.as_mut().filter(|buffers| is_pixels && !buffers.is_cached)?;
        let Buffer::Lent(lent) = &mut buffers.input else { return None };
        let (height_px, width_px) = input.spec.height_width();
        Some(DmaTarget { fd: lent.dma()?, width_px, height_px, row_bytes: input.row_elements })
    }

    /// Fills the input from `input`.
    ///
    /// # Errors
    /// [`Error::Backend`] when `input` is not of the model's input specification.
    pub fn write(&mut self, input: &Tensor) -> Result<(), Error> {
        if !input.matches(&self.plan.input.spec) {
            return Err(wrong_tensors());
        }
        if let Some(buffers) = &mut self.buffers {
            buffers.is_cached = true;
            self.plan.input.write(input.view(), buffers.input.bytes_mut());
        }
        Ok(())
    }

    pub(super) fn buffers(&mut self) -> Option<&mut Buffers> {
        self.buffers.as_mut()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            self.home.bring(buffers);
        }
    }
}

impl Finished {
    /// The outputs where the NPU wrote them, in the order of the bundle; int8 outputs carry scale and zero point.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> + Clone {
        let outputs = self.slot.buffers.as_ref().map_or(&[][..], |buffers| &buffers.outputs);
        self.slot.plan.outputs.iter().zip(outputs).map(|(plan, output)| plan.view(output))
    }

    /// Copies the outputs into tensors made with [`Tensor::zeroed`] from the pool's output specifications.
    ///
    /// # Errors
    /// [`Error::Backend`] when `targets` are of other specifications.
    pub fn copy_to(&self, targets: &mut [Tensor]) -> Result<(), Error> {
        if targets.len() != self.outputs().len() {
            return Err(wrong_tensors());
        }
        for ((view, target), plan) in self.outputs().zip(targets).zip(&self.slot.plan.outputs) {
            let TensorSpec { shape, layout, quant, .. } = plan.spec;
            if !target.matches(&plan.spec) {
                return Err(wrong_tensors());
            }
            match (view.data, &mut target.data) {
                (ViewData::U8(from), TensorData::U8(to)) => to.copy_from_slice(from),
                (ViewData::I8(from), TensorData::I8(to)) => to.copy_from_slice(from),
                (ViewData::F32(from), TensorData::F32(to)) => to.copy_from_slice(from),
                _ => return Err(wrong_tensors()),
            }
            (target.shape, target.layout, target.quant) = (shape, layout, quant);
        }
        Ok(())
    }
}

impl DmaBuffer {
    /// `bytes` from `offset` of the buffer behind `fd`.
    ///
    /// # Errors
    /// [`Error::Input`] when the descriptor cannot be duplicated, or is of a file that is shorter.
    pub fn new(fd: impl AsFd, offset: usize, bytes: usize) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fd = fd.as_fd().try_clone_to_owned().map_err(|error| {
            Error::Input(Fault::new(
                format!("a file descriptor that cannot be duplicated: {error}"),
                "an open DMA-BUF and room in the process's table",
                "raise the limit on open files (`ulimit -n`)",
            ))
        })?;
        let file = File::from(fd);
        // The kernel refuses to map a DMA-BUF beyond its end, but does so with a file, whose missing pages would kill us.
        if let Some(length) =
            file.metadata().ok().filter(|about| about.is_file() && is_beyond(about.len(), offset, bytes))
        {
            return Err(Error::Input(Fault::new(
                format!("{bytes} bytes from {offset} of a file of {}", length.len()),
                "bytes within the file",
                "give the buffer's own size",
            )));
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { inner: Arc::new(Imported { id, fd: file.into(), bytes, offset }) })
    }
}

fn is_beyond(length: u64, offset: usize, bytes: usize) -> bool {
    let end = offset.checked_add(bytes).and_then(|end| u64::try_from(end).ok());
    end.is_none_or(|end| end > length)
}

pub(super) fn wrong_tensors() -> Error {
    Error::Backend(Fault::new(
        "tensors of another type or shape than the session's",
        "the session's input and outputs",
        "make them with Tensor::zeroed from the session's or pool's specifications",
    ))
}
