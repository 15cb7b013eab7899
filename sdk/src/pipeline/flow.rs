//! How many frames may be under way behind the source's queue. Where they get old: as many as keep the slowest stage busy, and no
//! more. What is let in earlier only waits, wherever the slowest stage is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Stage;

/// What of a stage's average time a new frame makes.
const SHARE: f64 = 0.1;
/// A frame that took longer than so many average ones counts as such: one for which the stage stood still says little of those
/// that follow, and a stage that has become slower is known as such some frames later.
const MOST: f64 = 4.0;
/// Frames beyond those that are worked on where all goes evenly, because it does not.
const SPARE: f64 = 0.5;

/// What holds frames back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The pace of the slowest stage, with an engine that computes so many frames at the same time.
    Pace { lanes: usize },
    /// Only the rooms and queues that there are: the more frames wait, the longer may a stage stand for a moment before the
    /// slowest runs dry.
    Room,
}

/// Lets frames in.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    changed: Condvar,
    bound: Bound,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    is_over: bool,
    /// Average time of each stage; 0 where it is not known yet.
    work_us: [f64; Stage::ALL.len()],
}

impl Flow {
    /// Lets everything in until it is known how long stages take.
    pub(super) fn new(bound: Bound) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), bound }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one frame more may be under way; says whether it may, and it is not the end.
    pub(super) fn admit(&self) -> bool {
        let mut state = self.lock();
        while !state.is_over && state.under_way >= state.limit(self.bound) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.under_way += 1;
        !state.is_over
    }

    /// A frame that was let in has come out.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// A stage behind the source's queue took so long for a frame.
    pub(super) fn learn(&self, stage: Stage, took: Duration) {
        let took_us = took.as_secs_f64() * 1e6;
        let mut state = self.lock();
        let average = &mut state.work_us[stage.index()];
        *average = match *average {
            0.0 => took_us,
            known => known + SHARE * (took_us.min(MOST * known) - known),
        };
        drop(state);
        self.changed.notify_all();
    }

    /// Lets nothing in any more.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }
}

impl State {
    /// By Little's law, frames under way are the time of a frame in all stages over the time between frames, which is that of
    /// the slowest stage.
    fn limit(&self, bound: Bound) -> usize {
        let Bound::Pace { lanes } = bound else { return usize::MAX };
        let [_, preprocess, inference, decode, sinks] = self.work_us;
        let behind = [preprocess, inference, decode, sinks];
        if behind.contains(&0.0) {
            return usize::MAX;
        }
        let lanes = u32::try_from(lanes).map_or(1.0, f64::from).max(1.0);
        let slowest = [preprocess, inference / lanes, decode, sinks].into_iter().fold(0.0, f64::max);
        let frames = (behind.iter().sum::<f64>() / slowest + SPARE).ceil();
        // Between one and the lanes and stages that there are.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number above 1")]
        let frames = frames as usize;
        frames.max(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(lanes: usize, times_us: [u64; 4]) -> Flow {
        let flow = Flow::new(Bound::Pace { lanes });
        for (stage, us) in Stage::ALL.into_iter().skip(1).zip(times_us) {
            flow.learn(stage, Duration::from_micros(us));
        }
        flow
    }

    fn limit(lanes: usize, times_us: [u64; 4]) -> usize {
        flow(lanes, times_us).lock().limit(Bound::Pace { lanes })
    }

    #[test]
    fn as_many_are_let_in_as_keep_the_slowest_stage_busy() {
        assert_eq!(limit(1, [10, 10_000, 10, 10]), 2, "one at work, one ahead");
        assert_eq!(limit(1, [10, 10, 10, 10_000]), 2, "also where a sink is slow");
        assert_eq!(limit(1, [10_000, 10_000, 10_000, 10_000]), 5);
        assert_eq!(limit(3, [2000, 15_000, 2000, 500]), 5);
        let unknown = Flow::new(Bound::Pace { lanes: 1 });
        assert_eq!(unknown.lock().limit(unknown.bound), usize::MAX, "nothing is known yet");
        let known = flow(1, [10, 10_000, 10, 10]);
        assert_eq!(known.lock().limit(Bound::Room), usize::MAX, "where nothing gets old");
    }

    #[test]
    fn a_stage_that_stood_still_once_changes_nothing_and_one_that_has_become_slower_does() {
        for stage in [Stage::Preprocess, Stage::Decode, Stage::Sinks] {
            let flow = flow(3, [2000, 15_000, 2000, 500]);
            flow.learn(stage, Duration::from_secs(1));
            assert_eq!(flow.lock().limit(flow.bound), 5, "{stage}");
            for _ in 0..100 {
                flow.learn(stage, Duration::from_millis(100));
            }
            assert_eq!(flow.lock().limit(flow.bound), 2, "{stage}");
        }
    }

    #[test]
    fn who_waits_is_let_in_when_one_leaves_and_wakes_at_the_end() {
        let flow = flow(1, [10, 10_000, 10, 10]);
        assert!(flow.admit() && flow.admit());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| flow.admit());
            flow.leave();
            assert!(waits.join().unwrap());
            let waits = scope.spawn(|| flow.admit());
            flow.end();
            assert!(!waits.join().unwrap());
        });
    }
}
