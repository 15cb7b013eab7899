//! Takes frames from the source, at most as often as asked for, and lets newer ones replace those that wait, where that is
//! the policy. A camera is read on between the frames that are wanted: its driver keeps the oldest, not the newest.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Error;
use crate::pipeline::Policy;
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::note::Note;
use crate::sink::Controls;
use crate::source::{Arrival, Source, Supply};

/// How long a frame is waited for before it is looked whether the end is asked for: less than the time of a frame.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often it is looked whether frames are to be looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// The source and how it is played.
pub struct Capture {
    source: Box<dyn Source>,
    policy: Policy,
    controls: Controls,
    pace: Pace,
}

/// Whether there is more to do.
#[derive(PartialEq, Eq)]
enum Next {
    Frame,
    Over,
}

impl Capture {
    /// Plays `source`, with at least `interval` from one frame to the next.
    pub fn new(source: Box<dyn Source>, policy: Policy, interval: Duration, controls: Controls) -> Self {
        Self { source, policy, controls, pace: Pace { interval, due: None } }
    }

    /// Plays the source to its end.
    ///
    /// # Errors
    /// [`Error::Input`] when the source cannot give another frame.
    pub fn run(&mut self, line: &Line) -> Result<(), Error> {
        let mut held = None;
        loop {
            let begun = Instant::now();
            if !self.rest(line) || self.play(line, &mut held)? == Next::Over {
                line.captured.close();
                return Ok(());
            }
            if !self.wait(line, begun) {
                return Ok(());
            }
        }
    }

    /// Whether frames that are not wanted yet are passed over: those of files wait, and so do those that must not be lost.
    fn passes_over(&self) -> bool {
        self.policy == Policy::NewestFrame && self.source.supply() == Supply::Live
    }

    /// Waits while paused, where nothing is lost by that; says whether the line goes on.
    fn rest(&self, line: &Line) -> bool {
        let pulse = line.pulse(Stage::Capture);
        while self.policy == Policy::EveryFrame && self.controls.is_paused() {
            if !pulse.idle(|| line.captured.sleep_until(Instant::now() + PAUSE)) {
                return false;
            }
        }
        !line.is_aborted()
    }

    /// Waits until the interval since `begun` has passed, where frames wait too; says whether the line goes on.
    fn wait(&self, line: &Line, begun: Instant) -> bool {
        let next = begun + self.pace.interval;
        if self.passes_over() || next <= Instant::now() {
            return true;
        }
        line.pulse(Stage::Capture).idle(|| line.captured.sleep_until(next))
    }

    /// Waits for one frame and hands it on. What `held` holds is the memory for it, where the time before gave none.
    fn play(&mut self, line: &Line, held: &mut Option<Box<Parcel>>) -> Result<Next, Error> {
        // A frame that must not be lost is read once there is room for it, so that it waits in its file and not here.
        if self.policy == Policy::EveryFrame && !line.captured.wait_for_room() {
            return Ok(Next::Over);
        }
        let Some(mut parcel) = held.take().or_else(|| line.free.take()) else { return Ok(Next::Over) };
        let began = Instant::now();
        let unwanted_for = self.unwanted_for(began);
        let arrival = match unwanted_for {
            None => self.source.next(&mut parcel.shot, PATIENCE)?,
            Some(left) => self.source.skip(&mut parcel.shot, left.min(PATIENCE))?,
        };
        line.pulse(Stage::Capture).beat();
        match arrival {
            Arrival::Frame if unwanted_for.is_some() => {
                line.tally.unwanted.fetch_add(1, Ordering::Relaxed);
            }
            Arrival::Frame => {
                parcel.arrived = Instant::now();
                line.tally.work(Stage::Capture).add(parcel.arrived - began);
                self.pace.took(parcel.arrived);
                let Ok(replaced) = self.hand_on(line, parcel) else { return Ok(Next::Over) };
                *held = replaced;
                return Ok(Next::Frame);
            }
            Arrival::Broken(reason) => {
                line.tally.broken.fetch_add(1, Ordering::Relaxed);
                line.notes.leave(Note::Skipped(reason));
            }
            Arrival::Late => {}
            Arrival::Ended => return Ok(Next::Over),
        }
        *held = Some(parcel);
        Ok(Next::Frame)
    }

    /// For how long frames that come are passed over; none where the next one is wanted.
    fn unwanted_for(&self, now: Instant) -> Option<Duration> {
        if self.policy == Policy::NewestFrame && self.controls.is_paused() {
            return Some(PATIENCE);
        }
        self.pace.left(now).filter(|_| self.passes_over())
    }

    fn hand_on(&self, line: &Line, parcel: Box<Parcel>) -> Result<Option<Box<Parcel>>, Box<Parcel>> {
        match self.policy {
            Policy::EveryFrame => line.captured.put(parcel).map(|()| None),
            Policy::NewestFrame => {
                let replaced = line.captured.put_newest(parcel)?;
                if replaced.is_some() {
                    line.tally.dropped.fetch_add(1, Ordering::Relaxed);
                }
                Ok(replaced)
            }
        }
    }
}

/// When the next frame of a camera is wanted.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// Not before the first frame.
    due: Option<Instant>,
}

impl Pace {
    /// Time left until a frame is wanted; none where it is.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// A frame was taken. The next one is due an interval after this one was due, not after it came: else an interval of just
    /// the camera's own would cost every other frame, whose times tremble. One that came very late is not made up for.
    fn took(&mut self, arrived: Instant) {
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
        let mut pace = Pace { interval: Duration::from_millis(interval_ms), due: None };
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
