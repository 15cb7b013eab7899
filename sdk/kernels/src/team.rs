//! Workers in step: all run the same list of steps, share out the items of each, and wait for each other in between. They sleep
//! between runs only: waking sleepers at every step would take some ten microseconds each. Each begins with the same part of every
//! step's items, because what it made in the step before is in its core's caches, and then helps the others.

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
    /// How many items are taken of each worker's share, step by step.
    taken: Vec<AtomicUsize>,
    /// How many items of each step are finished.
    finished: Vec<AtomicUsize>,
}

impl Team {
    /// A team of `workers`, which are started when it runs.
    pub fn new(workers: NonZero<usize>) -> Self {
        Self { crew: Crew::new(workers), taken: Vec::new(), finished: Vec::new() }
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
        let workers = self.workers().get();
        for (counts, number) in [(&mut self.taken, workers * items.len()), (&mut self.finished, items.len())]
        {
            counts.clear();
            counts.resize_with(number, AtomicUsize::default);
        }
        let broken = AtomicBool::new(false);
        let walk = Walk { items, workers, taken: &self.taken, finished: &self.finished, broken };
        self.crew.run(&|worker| walk.run(worker, |step, item| work(step, item, worker)));
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
    workers: usize,
    taken: &'a [AtomicUsize],
    finished: &'a [AtomicUsize],
    /// Whether a worker has panicked, so that the others need not wait for what it had begun.
    broken: AtomicBool,
}

impl Walk<'_> {
    fn run(&self, worker: usize, work: impl Fn(usize, usize)) {
        let guard = Guard(&self.broken);
        for (step, &items) in self.items.iter().enumerate() {
            // Its own share first.
            for owner in (worker..self.workers).chain(0..worker) {
                while let Some(item) = self.take(step, owner) {
                    work(step, item);
                    self.finished[step].fetch_add(1, Ordering::AcqRel);
                }
            }
            if !self.wait(step, items) {
                break;
            }
        }
        drop(guard);
    }

    /// The next item of a worker's share that nobody has taken.
    fn take(&self, step: usize, owner: usize) -> Option<usize> {
        let [first, end] = [owner, owner + 1].map(|worker| worker * self.items[step] / self.workers);
        let item = first + self.taken[step * self.workers + owner].fetch_add(1, Ordering::Relaxed);
        (item < end).then_some(item)
    }

    /// Waits until so many items are finished, and says whether they were.
    fn wait(&self, step: usize, items: usize) -> bool {
        let mut spins = 0;
        while self.finished[step].load(Ordering::Acquire) < items {
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
