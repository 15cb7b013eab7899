//! Workers in step: all run the same list of steps, share out the items of each, and wait for each other in between. They sleep
//! between runs only: waking sleepers at every step would take some ten microseconds each.

mod crew;
mod ffi;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crew::Crew;

/// How often a worker looks for the others before it offers its core to someone else.
const SPINS: usize = 20_000;

/// Workers, and how far they are. After the first run of a list of steps, the next allocate nothing.
pub struct Team {
    crew: Crew,
    progress: Vec<Progress>,
}

/// How far a step is.
#[derive(Default)]
struct Progress {
    /// The next item that nobody has taken.
    next: AtomicUsize,
    /// How many items are finished.
    finished: AtomicUsize,
}

impl Team {
    /// A team of `workers`, which are started when it runs.
    pub fn new(workers: NonZero<usize>) -> Self {
        Self { crew: Crew::new(workers), progress: Vec::new() }
    }

    /// How many workers it has.
    pub fn workers(&self) -> NonZero<usize> {
        self.crew.size()
    }

    /// Runs `work(step, item, worker)` for every item of every step: `items` has their numbers. Steps follow each other. Worker 0 is
    /// this thread, which waits for items that others have begun, never for a worker that has no core to begin on.
    ///
    /// # Panics
    /// When `work` does; the next run is as good as any.
    pub fn run(&mut self, items: &[usize], work: impl Fn(usize, usize, usize) + Sync) {
        self.progress.clear();
        self.progress.resize_with(items.len(), Progress::default);
        let walk = Walk { items, progress: &self.progress, broken: AtomicBool::new(false) };
        self.crew.run(&|worker| walk.run(|step, item| work(step, item, worker)));
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Team").finish_non_exhaustive()
    }
}

/// One run.
struct Walk<'a> {
    items: &'a [usize],
    progress: &'a [Progress],
    /// Whether a worker has panicked, so that the others need not wait for what it had begun.
    broken: AtomicBool,
}

impl Walk<'_> {
    fn run(&self, work: impl Fn(usize, usize)) {
        let guard = Guard(&self.broken);
        for (step, (&items, progress)) in self.items.iter().zip(self.progress).enumerate() {
            loop {
                let item = progress.next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    break;
                }
                work(step, item);
                progress.finished.fetch_add(1, Ordering::AcqRel);
            }
            if !self.wait(progress, items) {
                break;
            }
        }
        drop(guard);
    }

    /// Waits until so many items are finished, and says whether they were.
    fn wait(&self, progress: &Progress, items: usize) -> bool {
        let mut spins = 0;
        while progress.finished.load(Ordering::Acquire) < items {
            if self.broken.load(Ordering::Relaxed) {
                return false;
            }
            spins += 1;
            if spins % SPINS == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
        true
    }
}

/// Tells the others when its worker panics.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    use super::*;

    fn team(workers: usize) -> Team {
        Team::new(NonZero::new(workers).unwrap())
    }

    fn check(team: &mut Team, items: &[usize], workers: usize) {
        let done: Vec<AtomicUsize> = items.iter().map(|_| AtomicUsize::new(0)).collect();
        team.run(items, |step, item, worker| {
            assert!(item < items[step] && worker < workers);
            for before in 0..step {
                assert_eq!(done[before].load(Ordering::SeqCst), items[before]);
            }
            done[step].fetch_add(1, Ordering::SeqCst);
        });
        assert!(done.iter().zip(items).all(|(done, items)| done.load(Ordering::SeqCst) == *items));
    }

    #[test]
    fn every_item_runs_once_and_steps_follow_each_other() {
        for workers in 1..=4 {
            let mut team = team(workers);
            // Another list in between, as of another plan.
            for items in [&[3, 0, 17, 1][..], &[3, 0, 17, 1], &[2], &[], &[5, 5, 5, 5, 5, 5]] {
                for _ in 0..20 {
                    check(&mut team, items, workers);
                }
            }
        }
    }

    #[test]
    fn all_workers_take_part() {
        let (all, items) = (Barrier::new(3), [3, 3]);
        team(3).run(&items, |_, _, _| {
            all.wait();
        });
    }

    #[test]
    fn teams_run_at_the_same_time() {
        thread::scope(|scope| {
            for workers in [1, 2, 3] {
                scope.spawn(move || {
                    let mut team = team(workers);
                    (0..200).for_each(|_| check(&mut team, &[4, 9, 1], workers));
                });
            }
        });
    }

    #[test]
    fn a_panic_of_a_worker_does_not_leave_the_others_waiting() {
        let mut team = team(3);
        for bad in 0..3 {
            let all = Barrier::new(3);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(&[3, 64], |step, _, worker| {
                    if step == 0 {
                        all.wait();
                        assert_ne!(worker, bad, "this worker gives up");
                    }
                });
            }));
            let panic = outcome.unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("this worker gives up"));
            check(&mut team, &[3, 0, 17], 3);
        }
    }
}
