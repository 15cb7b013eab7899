//! Where what is brought waits for the thread that works on it: a lock and a bell, the same for every sink with a thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The place, and what waits there.
#[derive(Default)]
pub(super) struct Desk<W> {
    held: Mutex<Held<W>>,
    changed: Condvar,
}

#[derive(Default)]
struct Held<W> {
    waiting: W,
    is_closed: bool,
}

impl<W> Desk<W> {
    /// Looks at what waits, or changes it so that nobody has to know.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut W) -> T) -> T {
        look(&mut self.lock().waiting)
    }

    /// Changes what waits, and wakes who waits for that.
    pub(super) fn bring(&self, put: impl FnOnce(&mut W)) {
        self.with(put);
        self.changed.notify_all();
    }

    /// Waits until `pick` finds something; none when the desk is closed and there is nothing left to find.
    pub(super) fn take<T>(&self, mut pick: impl FnMut(&mut W) -> Option<T>) -> Option<T> {
        let mut held = self.lock();
        loop {
            if let Some(picked) = pick(&mut held.waiting) {
                return Some(picked);
            }
            if held.is_closed {
                return None;
            }
            held = self.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `is_so`, but no longer than `limit`.
    pub(super) fn wait_until(&self, mut is_so: impl FnMut(&W) -> bool, limit: Duration) {
        let end = Instant::now() + limit;
        let mut held = self.lock();
        while !is_so(&held.waiting) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            held = self.changed.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until nothing more will come, but no longer than `limit`; says whether it is so.
    #[cfg_attr(not(feature = "drm"), expect(dead_code, reason = "only this sink rests"))]
    pub(super) fn wait_for_close(&self, limit: Duration) -> bool {
        let waits = |held: &mut Held<W>| !held.is_closed;
        let held = self.changed.wait_timeout_while(self.lock(), limit, waits);
        held.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held<W>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_brought_is_taken_also_after_the_end_and_then_there_is_none() {
        let desk = Desk::<Vec<u8>>::default();
        desk.bring(|waiting| waiting.extend([1, 2]));
        desk.close();
        assert_eq!([(); 3].map(|()| desk.take(Vec::pop)), [Some(2), Some(1), None]);
    }

    #[test]
    fn whoever_waits_wakes_for_what_comes_and_at_the_end() {
        let desk = Desk::<Option<u8>>::default();
        std::thread::scope(|scope| {
            let takes = scope.spawn(|| [(); 2].map(|()| desk.take(Option::take)));
            desk.bring(|waiting| *waiting = Some(7));
            desk.close();
            assert_eq!(takes.join().unwrap(), [Some(7), None]);
            let brings = scope.spawn(|| desk.bring(|waiting| *waiting = Some(8)));
            desk.wait_until(Option::is_some, Duration::from_secs(3600));
            brings.join().unwrap();
        });
    }

    #[test]
    fn what_never_comes_is_not_waited_for_for_ever() {
        let desk = Desk::<Option<u8>>::default();
        desk.wait_until(Option::is_some, Duration::ZERO);
        assert_eq!(desk.with(|waiting| *waiting), None);
    }
}
