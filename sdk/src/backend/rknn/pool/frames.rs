//! Frames on their way through a pool: handed to a worker, waited for, and given back in order. None is lost without a word.

use std::sync::Arc;
use std::time::Instant;

use artifact::DType;

use super::{Completed, Fate, Pending, Pool};
use crate::Error;
use crate::backend::rknn::failure::{Failing, NpuFailure};
use crate::backend::rknn::options::after;
use crate::backend::rknn::recipe::Core;
use crate::backend::rknn::slot::{DmaBuffer, Finished, Slot};
use crate::backend::rknn::worker::{Done, Silence, Source};

impl Pool {
    /// Starts a filled slot and gives the frame its number, counted from 0. The frame fails with
    /// [`NpuFailure::ForeignSlot`] where another pool gave the slot.
    pub fn submit(&mut self, slot: Slot) -> u64 {
        self.submit_from(slot, Source::Slot)
    }

    /// As [`Pool::submit`], the pixels being those in `pixels`, which must not change until the frame is finished: rows of
    /// RGB, [`Pool::import_row_bytes`] apart. The frame fails with [`NpuFailure::NotZeroCopy`] where
    /// [`Pool::is_zero_copy`] is false, with [`NpuFailure::NotPixels`] where the model takes no pixels, with
    /// [`NpuFailure::ShortImport`] where `pixels` are too few, with [`NpuFailure::Unmappable`] where they cannot be read
    /// and written.
    pub fn submit_imported(&mut self, slot: Slot, pixels: &DmaBuffer) -> u64 {
        self.submit_from(slot, Source::Imported(Arc::clone(&pixels.inner)))
    }

    fn submit_from(&mut self, slot: Slot, source: Source) -> u64 {
        let frame = self.next_frame;
        self.next_frame += 1;
        let fate = self.check_source(&source).map_or_else(|| self.hand_over(slot, source), Fate::Lost);
        self.pending.push_back(Pending { frame, fate });
        frame
    }

    /// Why a frame's pixels cannot be taken from there.
    fn check_source(&self, source: &Source) -> Option<Failing> {
        let Source::Imported(device) = source else { return None };
        let (given, needed) = (device.bytes, self.plan.input.bytes);
        let failure = match self.plan.input.spec.dtype {
            _ if !self.is_zero_copy() => NpuFailure::NotZeroCopy,
            DType::U8 if given < needed => NpuFailure::ShortImport { given, needed },
            DType::U8 => return None,
            DType::I8 | DType::F32 => NpuFailure::NotPixels,
        };
        Some(failure.at("the imported buffer"))
    }

    fn hand_over(&mut self, slot: Slot, source: Source) -> Fate {
        if !slot.is_of_pool(&self.plan) {
            return Fate::Lost(NpuFailure::ForeignSlot.at("the slot"));
        }
        let core = slot.worker;
        let is_current =
            |place: &&mut Core| slot.is_of_worker(&place.worker.home) && !place.worker.home.is_abandoned();
        let Some(place) = self.crew.cores.get_mut(core).filter(is_current) else {
            // Of a worker that has been set aside since.
            return Fate::Lost(NpuFailure::LostBehindStall.at("the frame"));
        };
        let generation = place.generation;
        match place.worker.submit(slot, source) {
            Ok(submitted) => Fate::UnderWay { core, generation, submitted },
            Err(silence) => {
                self.replace(core, silence, NpuFailure::WorkerEnded);
                Fate::Lost(NpuFailure::WorkerEnded.at("the NPU"))
            }
        }
    }

    /// Waits for the oldest frame under way; none when there is none. Never longer than the time limits allow: a core
    /// that does not answer in time is replaced, and its frames come back as errors, in their turn.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the pool that is to be fed meanwhile"
    )]
    pub fn next(&mut self) -> Option<Completed> {
        self.next_within(None)
    }

    /// As [`Pool::next`], waiting no longer than until `end` for the frame: none also when the oldest frame is not finished
    /// by then, and what is finished already however long ago `end` was. For who has something else to do, such as to take
    /// the next frame from a camera.
    pub fn next_until(&mut self, end: Instant) -> Option<Completed> {
        self.next_within(Some(end))
    }

    fn next_within(&mut self, end: Option<Instant>) -> Option<Completed> {
        self.settle();
        let &Pending { frame, fate } = self.pending.front()?;
        let result = self.wait_for(fate, end)?;
        self.pending.pop_front();
        match &result {
            Ok(_) => self.finished += 1,
            Err(_) => self.failed += 1,
        }
        Some(Completed { frame, result })
    }

    /// What became of a frame; none when that is not known by `end`.
    fn wait_for(&mut self, fate: Fate, end: Option<Instant>) -> Option<Result<Finished, Error>> {
        let (index, generation, submitted) = match fate {
            Fate::UnderWay { core, generation, submitted } => (core, generation, submitted),
            Fate::Lost(failing) => return Some(Err(self.error(failing))),
        };
        let core = self.crew.cores.get_mut(index).filter(|core| core.generation == generation);
        let Some(core) = core else {
            return Some(Err(self.error(NpuFailure::LostBehindStall.at("the frame"))));
        };
        let patience = self.recipe.options.limits.patience();
        let deadline = after(submitted.max(core.worker.progressed), patience);
        let failing = match core.worker.receive(end.map_or(deadline, |end| end.min(deadline))) {
            Ok(Done { slot, outcome: Ok(()), submitted, started, finished }) => {
                core.failures = 0;
                return Some(Ok(Finished { slot, run: finished - started, queued: started - submitted }));
            }
            Ok(Done { outcome: Err(failing), .. }) => {
                self.count_failure(index, failing.failure);
                failing
            }
            Err(Silence::Stalled) if end.is_some_and(|end| end < deadline) => return None,
            Err(silence) => {
                let failure = silence.failure(patience);
                self.replace(index, silence, failure);
                failure.at("the NPU")
            }
        };
        Some(Err(self.error(failing)))
    }
}
