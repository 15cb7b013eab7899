//! What the stages of a running pipeline share: the queues between them, the frames that go round, and how it ends.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::demand::Demand;
use super::flow::{Bound, Flow};
use super::note::Notes;
use super::pulse::Pulse;
use super::queue::{Queue, QueueReport};
use super::report::Tally;
use super::vitals::Temperature;
use crate::Error;
use crate::backend::{FRAMES_PER_LANE, Outcome, Room};
use crate::decode::{Detection, MOST_DETECTIONS};
use crate::preprocess::LetterboxMap;
use crate::sink::{FrameTimes, Object, Vitals, Waiting};
use crate::source::Shot;

/// Frames that go round with an engine of so many lanes. Two at work on each side of the engine, those with a room, and one in each
/// queue: then the source, which holds the last one, never waits for a frame that somebody holds back.
pub(crate) fn parcels(bound: Bound, lanes: usize) -> usize {
    4 + rooms(bound, lanes) + 3 + 1
}

/// Rooms that may be in use at a time with so many lanes. Where frames get old: at each lane a frame that it computes and one that
/// waits, so that no lane waits for a stage that stands for a moment, and one that is being prepared; those that would only
/// wait longer are not let in: see [`Flow`]. Else as many as engines have memory for by themselves, so that lanes have what to do where
/// a stage stands for longer than a frame takes; but for one: with all of them in use, whoever gives one back would be given it again, and
/// a lane that was out of service for a while would have its frames in a row for good. Lanes that are all out of service come back.
fn rooms(bound: Bound, lanes: usize) -> usize {
    match bound {
        Bound::Pace { .. } => 2 * lanes + 1,
        Bound::Room => FRAMES_PER_LANE * lanes.max(1) - 1,
    }
}

/// A stage, in the order in which a frame passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Takes frames from the source.
    Capture,
    /// Letterbox and conversion.
    Preprocess,
    /// The engine.
    Inference,
    /// Decode, NMS, tracking and the overlay.
    Decode,
    /// Hands frames to the sinks.
    Sinks,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Capture, Self::Preprocess, Self::Inference, Self::Decode, Self::Sinks];

    /// Its place among all.
    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|stage| *stage == self).unwrap_or(0)
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        ["capture", "preprocess", "inference", "decode", "sinks"][self.index()]
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A frame on its way, and what is known of it so far. Used again and again.
pub(super) struct Parcel {
    pub(super) shot: Shot,
    /// When it was taken, where its source knows that; else when it had been read.
    pub(super) arrived: Instant,
    /// How long it was read since.
    pub(super) read: Duration,
    pub(super) map: Option<LetterboxMap>,
    pub(super) room: Option<Room>,
    pub(super) outcome: Option<Outcome>,
    pub(super) objects: Vec<Object>,
    /// What they come from: this frame's own.
    pub(super) found: Vec<Detection>,
    pub(super) times: FrameTimes,
    pub(super) vitals: Vitals,
}

impl Parcel {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            shot: Shot::default(),
            arrived: Instant::now(),
            read: Duration::ZERO,
            map: None,
            room: None,
            outcome: None,
            objects: Vec::new(),
            found: Vec::with_capacity(MOST_DETECTIONS),
            times: FrameTimes::default(),
            vitals: Vitals::default(),
        })
    }
}

/// Why a line ended.
pub(super) enum Cause {
    /// As many frames as were asked for have reached the sinks.
    Enough,
    /// A stage cannot go on.
    Failed(Error),
}

/// Queues and all else that stages share.
pub(super) struct Line {
    /// Frames with nothing in them.
    pub(super) free: Queue<Box<Parcel>>,
    pub(super) captured: Queue<Box<Parcel>>,
    /// Room at the engine: without it, no frame is taken from `captured`, so that it is the newest that is taken.
    pub(super) rooms: Queue<Room>,
    pub(super) prepared: Queue<Box<Parcel>>,
    pub(super) inferred: Queue<Box<Parcel>>,
    pub(super) decoded: Queue<Box<Parcel>>,
    pub(super) pulses: [Pulse; Stage::ALL.len()],
    pub(super) tally: Arc<Tally>,
    pub(super) notes: Arc<Notes>,
    pub(super) flow: Flow,
    pub(super) demand: Demand,
    pub(super) temperature: Temperature,
    /// Rooms that may be in use at a time, those at the engine among them.
    pub(super) rooms_in_use: usize,
    feeder: OnceLock<Thread>,
    is_given_up: AtomicBool,
    is_aborted: AtomicBool,
    cause: Mutex<Option<Cause>>,
}

impl Line {
    /// A line for an engine of so many lanes, with all of the frames that go round.
    pub(super) fn new(
        lanes: usize,
        bound: Bound,
        demand: Demand,
        tally: Arc<Tally>,
        notes: Arc<Notes>,
    ) -> Self {
        let (rooms, parcels) = (rooms(bound, lanes), parcels(bound, lanes));
        let line = Self {
            free: Queue::new(parcels),
            captured: Queue::new(1),
            rooms: Queue::new(rooms),
            prepared: Queue::new(rooms),
            inferred: Queue::new(1),
            decoded: Queue::new(1),
            pulses: Default::default(),
            tally,
            notes,
            flow: Flow::new(bound),
            demand,
            temperature: Temperature::default(),
            rooms_in_use: rooms,
            feeder: OnceLock::new(),
            is_given_up: AtomicBool::new(false),
            is_aborted: AtomicBool::new(false),
            cause: Mutex::new(None),
        };
        for _ in 0..parcels {
            line.give_back(Parcel::new());
        }
        line
    }

    /// Frames that can be under way at the engine.
    pub(super) fn rooms(&self) -> usize {
        self.rooms_in_use
    }

    pub(super) fn pulse(&self, stage: Stage) -> &Pulse {
        &self.pulses[stage.index()]
    }

    /// Lets a frame go round again.
    pub(super) fn give_back(&self, mut parcel: Box<Parcel>) {
        (parcel.map, parcel.room, parcel.outcome, parcel.shot.dma) = (None, None, None, None);
        // Where the line has ended, nobody needs it.
        let _ = self.free.put(parcel);
    }

    /// As [`Line::give_back`], for a frame that was let in behind the source's queue.
    pub(super) fn retire(&self, parcel: Box<Parcel>) {
        self.give_back(parcel);
        self.flow.leave();
    }

    /// A stage has worked on a frame.
    pub(super) fn worked(&self, stage: Stage, took: Duration) {
        self.tally.work(stage).add(took);
        self.flow.learn(stage, took);
    }

    /// Says which thread feeds the engine.
    pub(super) fn set_feeder(&self, thread: Thread) {
        let _ = self.feeder.set(thread);
    }

    /// Wakes the thread that feeds the engine: there is a frame for it, or memory came back.
    pub(super) fn wake_feeder(&self) {
        if let Some(thread) = self.feeder.get() {
            thread.unpark();
        }
    }

    /// Ends the line at once: whatever is under way is left.
    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
        self.rooms.abort();
        for queue in self.queues() {
            queue.0.abort();
        }
        self.free.abort();
        self.flow.end();
        self.wake_feeder();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Relaxed)
    }

    /// Ends the line because of its engine: no frame more is let in, but those that the engine has finished still come out.
    pub(super) fn give_up(&self, error: Error) {
        self.keep_cause(Cause::Failed(error));
        self.is_given_up.store(true, Ordering::Relaxed);
        self.rooms.abort();
        for queue in [&self.free, &self.captured, &self.prepared] {
            queue.abort();
        }
        self.flow.end();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// Whether frames of the source are still of use.
    pub(super) fn takes_frames(&self) -> bool {
        !self.is_aborted() && !self.is_given_up()
    }

    /// Ends the line for a cause.
    pub(super) fn end(&self, cause: Cause) {
        self.keep_cause(cause);
        self.abort();
    }

    /// The first cause counts, unless all that was asked for is shown: then nothing else matters.
    fn keep_cause(&self, cause: Cause) {
        let mut kept = self.lock_cause();
        if kept.is_none() || matches!(cause, Cause::Enough) {
            *kept = Some(cause);
        }
    }

    /// Whether it ended because a stage cannot go on.
    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.lock_cause(), Some(Cause::Failed(_)))
    }

    pub(super) fn take_cause(&self) -> Option<Cause> {
        self.lock_cause().take()
    }

    fn lock_cause(&self) -> MutexGuard<'_, Option<Cause>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> [(&Queue<Box<Parcel>>, &'static str); 4] {
        [
            (&self.captured, "capture to preprocess"),
            (&self.prepared, "preprocess to inference"),
            (&self.inferred, "inference to decode"),
            (&self.decoded, "decode to sinks"),
        ]
    }

    pub(super) fn report(&self) -> Vec<QueueReport> {
        self.queues().map(|(queue, name)| queue.report(name)).to_vec()
    }

    /// How full the queues are just now.
    pub(super) fn waiting(&self) -> Waiting {
        let [preprocess, inference, decode, sinks] = self.queues().map(|(queue, _)| queue.depth());
        Waiting { preprocess, inference, decode, sinks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_and_one_is_left_free_at_the_engine() {
        for lanes in 0..=3 {
            let (live, of_files) = (rooms(Bound::Pace { lanes }, lanes), rooms(Bound::Room, lanes));
            assert!(live >= 1 && of_files >= live, "{lanes} lanes: {live} and {of_files} rooms");
            assert_eq!(of_files + 1, FRAMES_PER_LANE * lanes.max(1));
        }
    }
}
