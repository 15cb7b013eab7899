//! Which processor cores a stage may run on. Only a board knows which of its cores are which; without one, the kernel chooses.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

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
    /// Hands frames to the sinks. For threads that sinks have of their own, see [`Pinning::open_sinks`].
    pub sinks: Vec<usize>,
}

impl Pinning {
    /// Does `open`, and has every thread that it starts, and those that they start, run where frames are handed to sinks: for
    /// opening sinks that have threads of their own. Where that cannot be had they run on any core, as the stage does, and says.
    pub fn open_sinks<T>(&self, open: impl FnOnce() -> T) -> T {
        // Threads begin where the one runs that starts them, also those that libraries start.
        let _here = Elsewhere::go(&self.sinks);
        open()
    }

    /// What of it holds for stages around `engine`.
    pub(super) fn around(&self, engine: &dyn Engine) -> Self {
        let inference = if engine.computes_on_caller() { Vec::new() } else { self.inference.clone() };
        Self { inference, ..self.clone() }
    }
}

/// The calling thread while it runs on other cores than before, where it runs again afterwards.
struct Elsewhere {
    before: Option<CpuSet>,
}

impl Elsewhere {
    fn go(cores: &[usize]) -> Self {
        let before = sched_getaffinity(None).ok().filter(|_| !cores.is_empty());
        Self { before: before.filter(|_| pin(cores).is_ok()) }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It may run there: it did.
            let _ = sched_setaffinity(None, before);
        }
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

    #[test]
    fn threads_of_sinks_run_where_they_are_told_to_and_who_opens_them_does_not() {
        std::thread::spawn(|| {
            let before = sched_getaffinity(None).unwrap();
            let core = (0..CpuSet::MAX_CPU).find(|&core| before.is_set(core)).unwrap();
            let started = || std::thread::spawn(|| sched_getaffinity(None).unwrap()).join().unwrap();
            let open = |sinks| Pinning { sinks, ..Pinning::default() }.open_sinks(started);
            let one = open(vec![core]);
            assert_eq!((one.count(), one.is_set(core)), (1, true));
            assert_eq!(sched_getaffinity(None).unwrap(), before);
            for cores in [vec![], vec![CpuSet::MAX_CPU - 1]] {
                assert_eq!(open(cores), before, "where nothing is said, and where it cannot be had");
            }
        })
        .join()
        .unwrap();
    }
}
