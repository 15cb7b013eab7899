//! Lends work to threads that live longer than what the work borrows. Only that: no thread is started, woken or waited for by
//! name.

use std::mem;
use std::sync::{PoisonError, RwLock};

/// Work for all members of a crew, each of which is told its number.
pub type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Where one thread lays out work and others find it.
#[derive(Default)]
pub struct Desk(RwLock<Lent>);

#[derive(Default)]
struct Lent {
    work: Option<&'static Work<'static>>,
    /// How often work was laid out.
    number: u64,
}

impl Desk {
    /// Lets others [`Desk::borrow`] `work` while `meanwhile` runs. Returns once nobody has it any more.
    pub fn lend(&self, work: &Work<'_>, meanwhile: impl FnOnce()) {
        // SAFETY: only lifetimes change, and nothing uses the reference once the caller's borrow is over. It is nowhere but on the
        // desk, where `borrow` alone reads it: under the lock for reading, kept while its closure runs, which may not keep a
        // reference of any lifetime. `Loan` is dropped before this function is left, also by a panic, and takes the
        // reference off the desk under the lock for writing, which waits for all who read.
        let work = unsafe { mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let loan = Loan(self);
        self.lay_out(work);
        meanwhile();
        drop(loan);
    }

    /// Hands the work that lies here to `use_it`, if there is any that was not handed out for the same `last` before, which
    /// begins with 0.
    pub fn borrow(&self, last: &mut u64, use_it: impl FnOnce(&Work<'_>)) {
        let lent = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(work) = lent.work.filter(|_| lent.number != *last) {
            *last = lent.number;
            use_it(work);
        }
    }

    fn lay_out(&self, work: &'static Work<'static>) {
        let mut lent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        lent.number += 1;
        lent.work = Some(work);
    }
}

/// Takes the work off the desk in the end.
struct Loan<'a>(&'a Desk);

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.0.write().unwrap_or_else(PoisonError::into_inner).work = None;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn work_lies_there_while_it_is_lent_and_no_longer() {
        let (desk, runs) = (Desk::default(), AtomicUsize::new(0));
        let work = |member| {
            runs.fetch_add(member, Ordering::SeqCst);
        };
        let borrow = || desk.borrow(&mut 0, |work| work(3));
        borrow();
        desk.lend(&work, borrow);
        borrow();
        let panics = || desk.lend(&work, || panic!("in the meantime"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        borrow();
        assert_eq!(runs.into_inner(), 3);
    }

    #[test]
    fn work_is_handed_out_once_each_time_it_is_lent() {
        let (desk, runs, mut last) = (Desk::default(), AtomicUsize::new(0), 0);
        let work = |member| {
            runs.fetch_add(member, Ordering::SeqCst);
        };
        for times in 1..4 {
            desk.lend(&work, || (0..3).for_each(|_| desk.borrow(&mut last, |work| work(1))));
            assert_eq!(runs.load(Ordering::SeqCst), times);
        }
    }

    #[test]
    fn whoever_borrowed_is_waited_for() {
        let (desk, is_through) = (Desk::default(), AtomicBool::new(false));
        let ((began, has_begun), (may_end, end)) = (channel(), channel());
        let end = Mutex::new(end);
        let work = |_| {
            began.send(()).unwrap();
            end.lock().unwrap().recv().unwrap();
            is_through.store(true, Ordering::SeqCst);
        };
        thread::scope(|scope| {
            let desk = &desk;
            desk.lend(&work, || {
                scope.spawn(move || desk.borrow(&mut 0, |work| work(1)));
                has_begun.recv().unwrap();
                may_end.send(()).unwrap();
            });
            assert!(is_through.load(Ordering::SeqCst));
        });
    }
}
