//! Workers in step: all run the same list of steps, share out the items of each, and wait for each other in between. The
//! workers live for one run; starting them takes some ten microseconds, waking sleepers at every step would take that each.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// How often a worker looks for the others before it offers its core to someone else.
const SPINS: usize = 20_000;

/// Runs `work(step, item, worker)` for every item of every step: `items` has their numbers. Steps follow each other.
///
/// # Panics
/// When `work` does.
pub fn run(threads: NonZero<usize>, items: &[usize], work: impl Fn(usize, usize, usize) + Sync) {
    let team = Team {
        workers: threads.get(),
        next: items.iter().map(|_| AtomicUsize::new(0)).collect(),
        finished: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        for worker in 1..threads.get() {
            let (team, work) = (&team, &work);
            scope.spawn(move || team.run(items, |step, item| work(step, item, worker)));
        }
        team.run(items, |step, item| work(step, item, 0));
    });
}

struct Team {
    workers: usize,
    /// For each step, the next item that nobody has taken.
    next: Vec<AtomicUsize>,
    /// How often a worker has finished a step.
    finished: AtomicUsize,
    /// Whether a worker has panicked, so that the others need not wait for it.
    broken: AtomicBool,
}

impl Team {
    fn run(&self, items: &[usize], work: impl Fn(usize, usize)) {
        let guard = Guard(&self.broken);
        for (step, &items) in items.iter().enumerate() {
            loop {
                let item = self.next[step].fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    break;
                }
                work(step, item);
            }
            self.finished.fetch_add(1, Ordering::AcqRel);
            if !self.wait(self.workers * (step + 1)) {
                break;
            }
        }
        drop(guard);
    }

    /// Waits until steps were finished `times` times, and says whether they were.
    fn wait(&self, times: usize) -> bool {
        let mut spins = 0;
        while self.finished.load(Ordering::Acquire) < times {
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
    use super::*;

    #[test]
    fn every_item_runs_once_and_steps_follow_each_other() {
        let items = [3, 0, 17, 1];
        for threads in 1..=4 {
            let done: Vec<AtomicUsize> = items.iter().map(|_| AtomicUsize::new(0)).collect();
            run(NonZero::new(threads).unwrap(), &items, |step, item, worker| {
                assert!(item < items[step] && worker < threads);
                for before in 0..step {
                    assert_eq!(done[before].load(Ordering::SeqCst), items[before]);
                }
                done[step].fetch_add(1, Ordering::SeqCst);
            });
            assert!(done.iter().zip(items).all(|(done, items)| done.load(Ordering::SeqCst) == items));
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_a_worker_does_not_leave_the_others_waiting() {
        run(NonZero::new(3).unwrap(), &[64, 64], |_, _, worker| {
            thread::sleep(std::time::Duration::from_millis(1));
            assert_eq!(worker, 0, "this worker gives up");
        });
    }
}
