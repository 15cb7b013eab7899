//! Takes frames from the source, at most as often as asked for, and lets newer ones replace those that wait, where that is
//! the policy. A camera is read on between the frames that are wanted: its driver keeps the oldest, not the newest.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Error;
use crate::pace::Pace;
use crate::pipeline::Policy;
use crate::pipeline::flow::Bound;
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::note::Note;
use crate::sink::{Controls, Pixels};
use crate::source::{Arrival, Shot, Source, Supply};

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
        Self { source, policy, controls, pace: Pace::new(interval) }
    }

    /// What holds its frames back: those that wait at their source until they are taken get old nowhere else.
    pub fn bound(&self, lanes: usize) -> Bound {
        match (self.policy, self.source.supply()) {
            (Policy::EveryFrame, Supply::OnDemand) => Bound::Room,
            (Policy::NewestFrame, _) | (_, Supply::Live) => Bound::Pace { lanes },
        }
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
        line.takes_frames()
    }

    /// Waits until the interval since `begun` has passed, where frames wait too; says whether the line goes on.
    fn wait(&self, line: &Line, begun: Instant) -> bool {
        let next = begun + self.pace.interval();
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
        // Only of use to sources that say so for each frame.
        let shot = &mut parcel.shot;
        (shot.taken_at, shot.filmed_at, shot.read_from) = (None, None, None);
        let began = Instant::now();
        let unwanted_for = self.unwanted_for(began);
        let arrival = match unwanted_for {
            None => self.read_next(&mut parcel.shot, line)?,
            Some(left) => self.source.skip(&mut parcel.shot, left.min(PATIENCE))?,
        };
        line.pulse(Stage::Capture).beat();
        match arrival {
            Arrival::Frame if unwanted_for.is_some() => {
                line.tally.unwanted.fetch_add(1, Ordering::Relaxed);
            }
            Arrival::Frame => {
                let now = Instant::now();
                let read = read_time(&parcel.shot, began, now);
                line.tally.work(Stage::Capture).add(read);
                (parcel.arrived, parcel.read) = match parcel.shot.taken_at {
                    Some(taken_at) => (taken_at, read),
                    None => (now, Duration::ZERO),
                };
                self.pace.took(now);
                let Ok(replaced) = self.hand_on(line, parcel) else { return Ok(Next::Over) };
                *held = replaced;
                return Ok(Next::Frame);
            }
            Arrival::Broken(reason) => {
                line.tally.broken.fetch_add(1, Ordering::Relaxed);
                line.notes.leave(Note::Skipped(reason));
            }
            Arrival::Event(what) => line.notes.leave(Note::Source(what)),
            Arrival::Late => {}
            Arrival::Ended => return Ok(Next::Over),
        }
        *held = Some(parcel);
        Ok(Next::Frame)
    }

    /// Waits for the next frame, and reads it where anybody does so at all.
    fn read_next(&mut self, shot: &mut Shot, line: &Line) -> Result<Arrival, Error> {
        match line.demand.pixels() {
            Pixels::Needed => self.source.next(shot, PATIENCE),
            Pixels::Unneeded => self.source.next_unread(shot, PATIENCE),
        }
    }

    /// For how long frames that come are passed over; none where the next one is wanted.
    fn unwanted_for(&self, now: Instant) -> Option<Duration> {
        if self.policy == Policy::NewestFrame && self.controls.is_paused() {
            return Some(PATIENCE);
        }
        self.pace.left(now).filter(|_| self.passes_over())
    }

    fn hand_on(&self, line: &Line, parcel: Box<Parcel>) -> Result<Option<Box<Parcel>>, Box<Parcel>> {
        line.tally.taken.fetch_add(1, Ordering::Relaxed);
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

/// How long a frame was read that was asked for when it `began` and is there `now`: waiting for a camera is no work.
fn read_time(shot: &Shot, began: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(shot.read_from.map_or(began, |from| from.max(began)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Pattern;

    #[test]
    fn frames_that_may_get_old_are_held_back() {
        let bound = |policy| {
            let (source, controls) = (Box::new(Pattern::new(64, 64)), Controls::new(0.25));
            Capture::new(source, policy, Duration::ZERO, controls).bound(3)
        };
        assert_eq!(bound(Policy::EveryFrame), Bound::Room);
        assert_eq!(bound(Policy::NewestFrame), Bound::Pace { lanes: 3 });
    }

    #[test]
    fn waiting_for_a_camera_is_no_work() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let read =
            |read_from| read_time(&Shot { read_from, ..Shot::default() }, began, after(12)).as_millis();
        assert_eq!((read(None), read(Some(after(9))), read(Some(after(13)))), (12, 3, 0));
        assert_eq!(read(began.checked_sub(Duration::from_millis(5))), 12, "not before it was asked for");
    }
}
