//! Which of the frames that come are wanted, where fewer are than come.

use std::time::{Duration, Instant};

/// When the next frame is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    interval: Duration,
    /// Not before the first frame.
    due: Option<Instant>,
}

impl Pace {
    /// One frame an interval.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: None }
    }

    /// Between two frames.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Time left until a frame is wanted; none where it is.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// A frame was taken. The next one is due an interval after this one was due, not after it came: else an interval of just
    /// the camera's own would cost every other frame, whose times tremble. One that came very late is not made up for.
    pub(crate) fn took(&mut self, arrived: Instant) {
        let soonest = arrived + self.interval / 2;
        self.due = Some(self.due.map_or(arrived + self.interval, |due| (due + self.interval).max(soonest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds at which frames are taken that come at `arrivals_ms`.
    fn taken(interval_ms: u64, arrivals_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let begun = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(interval_ms));
        let mut is_taken = |ms: &u64| {
            let now = begun + Duration::from_millis(*ms);
            let is_wanted = pace.left(now).is_none();
            if is_wanted {
                pace.took(now);
            }
            is_wanted
        };
        arrivals_ms.into_iter().filter(|ms| is_taken(ms)).collect()
    }

    #[test]
    fn frames_that_come_too_early_are_passed_over() {
        assert_eq!(taken(100, (0..=400).step_by(40)), [0, 120, 200, 320, 400], "as often as asked for");
        assert_eq!(taken(0, 0..3), [0, 1, 2]);
        assert_eq!(taken(3_600_000, (0..1000).step_by(33)), [0]);
    }

    #[test]
    fn times_that_tremble_cost_few_frames_and_a_gap_is_not_made_up_for() {
        // 30 frames a second, each up to two milliseconds late, where as many are asked for.
        let late_ms = [1, 2, 1, 0].into_iter().cycle();
        let trembling = (1..=300).zip(late_ms).map(|(frame, late_ms)| frame * 100 / 3 + late_ms);
        assert!(taken(33, trembling).len() > 280);
        let with_gap = [0, 1000, 1010, 1020, 1040, 1060, 1099, 1150, 1200];
        assert_eq!(taken(100, with_gap), [0, 1000, 1060, 1150]);
    }
}
