//! Threads that wait for work and do it together with whoever has it. Knows nothing of steps and items.

use std::any::Any;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use super::ffi::{Desk, Work};

/// Threads that sleep between two calls. Dropped, it ends them and waits until they have ended.
pub struct Crew {
    size: NonZero<usize>,
    members: Vec<JoinHandle<()>>,
    /// Whom they were started by.
    leader: Option<ThreadId>,
    shared: Arc<Shared>,
}

/// What members and their leader share.
#[derive(Default)]
struct Shared {
    desk: Desk,
    has_ended: AtomicBool,
    /// What the last member that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Crew {
    /// So many, the thread that calls [`Crew::run`] counted. None is started yet.
    pub fn new(size: NonZero<usize>) -> Self {
        Self { size, members: Vec::new(), leader: None, shared: Arc::default() }
    }

    /// How many they are, the thread that calls [`Crew::run`] counted.
    pub fn size(&self) -> NonZero<usize> {
        self.size
    }

    /// Calls `work` with 0 on this thread and with the numbers behind it on the others, of which those come too late that have not
    /// begun before this thread is through. Returns when nobody is at work.
    ///
    /// # Panics
    /// When `work` does, on whichever thread.
    pub fn run(&mut self, work: &Work<'_>) {
        self.gather();
        self.call(work);
    }

    fn call(&self, work: &Work<'_>) {
        self.shared.desk.lend(work, || {
            self.members.iter().for_each(|member| member.thread().unpark());
            self.shared.attempt(work, 0);
        });
        let panic = self.shared.panic().take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Starts the threads, if this thread has not. They are started by the first that runs and anew by another, because a thread
    /// inherits the cores and the priority of the one that starts it: work stays where its caller was pinned, whoever loaded the
    /// model. A caller is to be pinned before it runs. All wait for each other once, so that what threads allocate as they start is
    /// over when they work.
    fn gather(&mut self) {
        let caller = thread::current().id();
        if self.leader == Some(caller) {
            return;
        }
        self.dismiss();
        self.shared = Arc::default();
        for member in 1..self.size.get() {
            let shared = Arc::clone(&self.shared);
            self.members.push(thread::spawn(move || shared.serve(member)));
        }
        self.leader = Some(caller);
        let all = Barrier::new(self.size.get());
        self.call(&|_| {
            all.wait();
        });
    }

    fn dismiss(&mut self) {
        self.leader = None;
        self.shared.has_ended.store(true, Ordering::Release);
        for member in self.members.drain(..) {
            member.thread().unpark();
            // Members hand on what panics, and end well.
            let _ = member.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.dismiss();
    }
}

impl Shared {
    /// The life of a member. Whoever lays out work or ends it wakes afterwards, so that sleep never follows unseen news: waking a
    /// thread that is awake lets it pass its next sleep.
    fn serve(&self, member: usize) {
        let mut last = 0;
        while !self.has_ended.load(Ordering::Acquire) {
            self.desk.borrow(&mut last, |work| self.attempt(work, member));
            thread::park();
        }
    }

    fn attempt(&self, work: &Work<'_>, member: usize) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(member))) {
            *self.panic() = Some(panic);
        }
    }

    fn panic(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn crew(size: usize) -> Crew {
        Crew::new(NonZero::new(size).unwrap())
    }

    /// The threads of `crew`, by their numbers: each waits for all others, so that all are needed.
    fn threads(crew: &mut Crew) -> Vec<ThreadId> {
        let size = crew.size.get();
        let (all, ids) = (Barrier::new(size), Mutex::new(vec![None; size]));
        crew.run(&|member| {
            ids.lock().unwrap()[member] = Some(thread::current().id());
            all.wait();
        });
        ids.into_inner().unwrap().into_iter().map(Option::unwrap).collect()
    }

    #[test]
    fn the_same_threads_run_again_and_again() {
        let mut crew = crew(4);
        let first = threads(&mut crew);
        assert_eq!(first[0], thread::current().id());
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4);
        for _ in 0..50 {
            assert_eq!(threads(&mut crew), first);
        }
    }

    #[test]
    fn none_is_started_for_one() {
        let mut crew = crew(1);
        assert_eq!(threads(&mut crew), [thread::current().id()]);
        assert!(crew.members.is_empty());
    }

    #[test]
    fn threads_are_children_of_whoever_runs() {
        let mut crew = crew(3);
        assert!(crew.members.is_empty(), "before the first run");
        let here = threads(&mut crew);
        let there = thread::scope(|scope| scope.spawn(|| threads(&mut crew)).join().unwrap());
        assert!(here.iter().all(|id| !there.contains(id)));
        assert_eq!(crew.members.len(), 2);
    }

    #[test]
    fn dropping_it_ends_them() {
        let mut crew = crew(3);
        threads(&mut crew);
        let shared = Arc::downgrade(&crew.shared);
        drop(crew);
        assert!(shared.upgrade().is_none(), "a thread is still there");
    }

    #[test]
    fn a_panic_is_the_callers_and_costs_one_run() {
        let mut crew = crew(3);
        let before = threads(&mut crew);
        for bad in 0..3 {
            let all = Barrier::new(3);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                crew.run(&|member| {
                    all.wait();
                    assert_ne!(member, bad, "this one gives up");
                });
            }));
            let panic = outcome.unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("this one gives up"));
            assert_eq!(threads(&mut crew), before);
        }
    }
}
