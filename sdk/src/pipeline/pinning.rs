//! Which processor cores a stage may run on. Only a board knows which of its cores are which; without one, the kernel chooses.

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::backend::Engine;

/// Cores of a stage, by the kernel's numbers; none where the kernel chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pinning {
    /// Waits for the camera and reads its frames.
    pub capture: Vec<usize>,
    /// Letterbox and conversion.
    pub preprocess: Vec<usize>,
    /// Feeds the engine. Threads of the engine itself are not meant: where the engine computes on the thread that feeds it, as
    /// the CPU's does, that runs on any core, because all that it starts would be bound to the same ones.
    pub inference: Vec<usize>,
    /// Decode, NMS, tracking and the overlay.
    pub decode: Vec<usize>,
    /// Hands frames to the sinks.
    pub sinks: Vec<usize>,
}

impl Pinning {
    /// What of it holds for stages around `engine`.
    pub(super) fn around(&self, engine: &dyn Engine) -> Self {
        let inference = if engine.computes_on_caller() { Vec::new() } else { self.inference.clone() };
        Self { inference, ..self.clone() }
    }
}

/// Lets the calling thread run on `cores` only; the error is a sentence.
pub(super) fn pin(cores: &[usize]) -> Result<(), String> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &core in cores.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
        set.set(core);
    }
    sched_setaffinity(None, &set).map_err(|error| format!("not pinned to cores {cores:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;

    #[test]
    fn a_thread_runs_where_it_is_told_to_or_says_that_it_cannot() {
        std::thread::spawn(|| {
            let before = sched_getaffinity(None).unwrap();
            let core = (0..CpuSet::MAX_CPU).find(|&core| before.is_set(core)).unwrap();
            pin(&[core]).unwrap();
            let now = sched_getaffinity(None).unwrap();
            assert_eq!((now.count(), now.is_set(core)), (1, true));
            pin(&[]).unwrap();
            let said = pin(&[CpuSet::MAX_CPU - 1, usize::MAX]).unwrap_err();
            assert!(said.contains("not pinned"), "{said}");
        })
        .join()
        .unwrap();
    }
}
