//! What lies between two stages: a queue with an end, which tells how full it was. Never grows; who puts something in waits
//! for room or takes back what was replaced, and everybody wakes when it ends.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// A queue of at most so many items, for one stage that puts in and one that takes out.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    phase: Phase,
    deepest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is in it still comes out.
    Closed,
    /// Nothing comes out any more.
    Aborted,
}

/// What came of waiting for an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// Here it is.
    Item(T),
    /// None came in time.
    Late,
    /// No more will come.
    Over,
}

/// How full a queue was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QueueReport {
    /// Between which stages it lies.
    pub name: &'static str,
    /// Frames that it holds at most.
    pub capacity: usize,
    /// Most frames that were in it.
    pub deepest: usize,
}

impl<T> Queue<T> {
    /// An empty queue with room for `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let state = State { items: VecDeque::with_capacity(capacity), phase: Phase::Open, deepest: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until<'a>(&self, state: MutexGuard<'a, State<T>>, end: Instant) -> MutexGuard<'a, State<T>> {
        let left = end.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Puts `item` in, once there is room for it; gives it back where the queue has ended.
    ///
    /// # Errors
    /// The item.
    pub fn put(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        while state.phase == Phase::Open && state.items.len() >= self.capacity {
            state = self.wait(state);
        }
        if state.phase != Phase::Open {
            return Err(item);
        }
        state.push(item);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Puts `item` in at once, in place of the oldest where there is no room, which is given back; the item itself where the
    /// queue has ended.
    ///
    /// # Errors
    /// The item.
    pub fn put_newest(&self, item: T) -> Result<Option<T>, T> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(item);
        }
        let replaced = if state.items.len() >= self.capacity { state.items.pop_front() } else { None };
        state.push(item);
        drop(state);
        self.changed.notify_all();
        Ok(replaced)
    }

    /// Waits for room, for the one who puts in; says whether there is any, and not the end.
    pub fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while state.phase == Phase::Open && state.items.len() >= self.capacity {
            state = self.wait(state);
        }
        state.phase == Phase::Open
    }

    /// Waits for the oldest item; none when no more will come.
    pub fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            match self.try_next(&mut state) {
                Taken::Item(item) => return Some(item),
                Taken::Over => return None,
                Taken::Late => state = self.wait(state),
            }
        }
    }

    /// The oldest item, if one is there.
    pub fn try_take(&self) -> Taken<T> {
        self.try_next(&mut self.lock())
    }

    fn try_next(&self, state: &mut State<T>) -> Taken<T> {
        match state.phase {
            Phase::Aborted => return Taken::Over,
            Phase::Open | Phase::Closed => {}
        }
        if let Some(item) = state.items.pop_front() {
            self.changed.notify_all();
            return Taken::Item(item);
        }
        if state.phase == Phase::Closed { Taken::Over } else { Taken::Late }
    }

    /// Waits until `end`, or until the queue has ended: says whether it has not.
    pub fn sleep_until(&self, end: Instant) -> bool {
        let mut state = self.lock();
        while state.phase == Phase::Open && Instant::now() < end {
            state = self.wait_until(state, end);
        }
        state.phase == Phase::Open
    }

    /// Takes nothing more; what is in it still comes out.
    pub fn close(&self) {
        self.end(Phase::Closed);
    }

    /// Takes and gives nothing more.
    pub fn abort(&self) {
        self.end(Phase::Aborted);
    }

    fn end(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != Phase::Aborted {
            state.phase = phase;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How full it is.
    pub fn depth(&self) -> usize {
        self.lock().items.len()
    }

    /// How full it was so far.
    pub fn report(&self, name: &'static str) -> QueueReport {
        QueueReport { name, capacity: self.capacity, deepest: self.lock().deepest }
    }
}

impl<T> State<T> {
    fn push(&mut self, item: T) {
        self.items.push_back(item);
        self.deepest = self.deepest.max(self.items.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_that_waits_is_replaced_by_the_newest() {
        let queue = Queue::new(2);
        assert_eq!((queue.put_newest(1), queue.put_newest(2)), (Ok(None), Ok(None)));
        assert_eq!((queue.put_newest(3), queue.depth()), (Ok(Some(1)), 2));
        assert_eq!((queue.take(), queue.take()), (Some(2), Some(3)));
        assert_eq!(queue.try_take(), Taken::Late);
        assert_eq!(queue.report("x"), QueueReport { name: "x", capacity: 2, deepest: 2 });
    }

    #[test]
    fn closed_it_gives_what_is_in_it_and_aborted_nothing() {
        let queue = Queue::new(2);
        queue.put(1).unwrap();
        queue.close();
        assert_eq!((queue.put(2), queue.put_newest(2)), (Err(2), Err(2)));
        assert_eq!((queue.take(), queue.take()), (Some(1), None));
        let queue = Queue::new(2);
        queue.put(1).unwrap();
        queue.abort();
        queue.close();
        assert_eq!((queue.take(), queue.try_take()), (None, Taken::Over));
        assert!(!queue.wait_for_room());
    }

    #[test]
    fn everybody_wakes_at_the_end() {
        let (full, empty) = (Queue::new(1), Queue::<u8>::new(1));
        full.put(1).unwrap();
        let far = Instant::now() + Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let waits = [
                scope.spawn(|| full.put(2).is_err()),
                scope.spawn(|| !full.wait_for_room()),
                scope.spawn(|| empty.take().is_none()),
                scope.spawn(|| !empty.sleep_until(far)),
            ];
            full.abort();
            empty.abort();
            assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
        });
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_once_and_in_order(capacity in 1_usize..5, count in 0_u32..200, pauses in any::<u64>()) {
            let queue = Queue::new(capacity);
            let pause = |index: u32, side: u32| {
                if pauses.rotate_left(index * 7 + side) & 7 == 0 {
                    std::thread::yield_now();
                }
            };
            let taken = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for index in 0..count {
                        pause(index, 0);
                        queue.put(index).unwrap();
                    }
                    queue.close();
                });
                let mut taken = Vec::new();
                while let Some(item) = queue.take() {
                    pause(item, 3);
                    taken.push(item);
                }
                taken
            });
            prop_assert_eq!(taken, (0..count).collect::<Vec<_>>());
            prop_assert!(queue.report("").deepest <= capacity);
        }
    }
}
