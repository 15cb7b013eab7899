//! Gives what is found in following frames the same number, frame after frame: ByteTrack's association over Kalman filters.
//! Looks at boxes, classes and times only, never at pixels. Allocates nothing once it has seen as many objects before.

mod assign;
mod kalman;

use std::ops::Range;
use std::time::Duration;

use artifact::Fault;

use crate::{Detection, Error};
use assign::Assignment;
use kalman::Motion;

/// When a detection continues a track, begins one, or is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSettings {
    /// Detections scored at least this may continue any track.
    pub high_score: f32,
    /// Detections scored at least this may continue a track that was seen in the frame before: an object that is half
    /// hidden scores low, but where one is expected it is more than noise.
    pub low_score: f32,
    /// Detections scored at least this that continue no track begin one.
    pub new_score: f32,
    /// How long a track outlives its last sighting.
    pub memory: Duration,
}

impl Default for TrackSettings {
    fn default() -> Self {
        Self { high_score: 0.5, low_score: 0.1, new_score: 0.6, memory: Duration::from_secs(1) }
    }
}

impl TrackSettings {
    fn check(&self) -> Result<(), Error> {
        let scores = [0.0, self.low_score, self.high_score, self.new_score, 1.0];
        // NaN is not sorted either.
        if scores.is_sorted() {
            return Ok(());
        }
        Err(Error::Input(Fault::new(
            format!("scores low {}, high {}, new {}", scores[1], scores[2], scores[3]),
            "0 ≤ low ≤ high ≤ new ≤ 1",
            "start from TrackSettings::default()",
        )))
    }
}

/// Least overlap times score for a detection of high score to continue a track.
const HIGH_OVERLAP: f32 = 0.2;
/// Least overlap for one of low score.
const LOW_OVERLAP: f32 = 0.5;
/// Least overlap times score for the second sighting of what was seen once.
const SECOND_OVERLAP: f32 = 0.3;
/// Two tracks that overlap this much are one object.
const SAME_OVERLAP: f32 = 0.85;

/// An object that is followed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Tracked {
    /// The object's number, from 1; never given to another.
    pub id: u32,
    /// Where it is, smoothed over the frames, and what was seen of it in this one.
    pub detection: Detection,
}

/// Follows objects from frame to frame.
#[derive(Debug, Clone)]
pub struct Tracker {
    settings: TrackSettings,
    tracks: Vec<Track>,
    /// Time of the frame before, if there was one.
    before: Option<Duration>,
    last_id: u32,
    /// Which detections of this frame a track has claimed.
    claimed: Vec<bool>,
    /// Who takes part in a stage: indices of tracks and of detections.
    seekers: Vec<usize>,
    free: Vec<usize>,
    assignment: Assignment,
    shown: Vec<Tracked>,
}

/// What one track has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Seen once; noise, unless seen again.
    New,
    /// Seen in the frame before.
    Seen,
    /// Expected, but not seen in the frame before.
    Lost,
}

#[derive(Debug, Clone)]
struct Track {
    /// 0 while the track is new: noise uses up no numbers.
    id: u32,
    state: State,
    /// What was seen last, at its smoothed place.
    detection: Detection,
    motion: Motion,
    last_seen: Duration,
    is_seen: bool,
}

/// One round of association: which tracks look for which detections, and what a pair gains over its least.
struct Stage {
    seeks: fn(State) -> bool,
    scores: Range<f32>,
    gain: fn(overlap: f32, score: f32) -> f32,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    ///
    /// # Errors
    /// [`Error::Input`] when the scores are not in the order 0 ≤ low ≤ high ≤ new ≤ 1.
    pub fn new(settings: TrackSettings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            settings,
            tracks: Vec::new(),
            before: None,
            last_id: 0,
            claimed: Vec::new(),
            seekers: Vec::new(),
            free: Vec::new(),
            assignment: Assignment::default(),
            shown: Vec::new(),
        })
    }

    /// Follows by other settings from the next frame on; what is followed keeps its number.
    ///
    /// # Errors
    /// As [`Tracker::new`].
    pub fn set_settings(&mut self, settings: TrackSettings) -> Result<(), Error> {
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// Takes what was found in the frame taken `at`, measured from any moment that stays the same, and gives the objects
    /// seen in it, by number. A time before that of the last frame counts as that one's; boxes that are not finite or
    /// upside down are left out.
    pub fn update(&mut self, at: Duration, detections: &[Detection]) -> &[Tracked] {
        let at = at.max(self.before.unwrap_or(at));
        let passed = at - self.before.unwrap_or(at);
        for track in &mut self.tracks {
            track.predict(passed);
        }
        self.claimed.clear();
        self.claimed.extend(detections.iter().map(|found| !is_box(found)));
        let TrackSettings { low_score, high_score, .. } = self.settings;
        for stage in stages(low_score, high_score) {
            self.associate(&stage, at, detections);
        }
        self.forget(at);
        self.begin(at, detections);
        self.before = Some(at);
        self.show();
        &self.shown
    }

    /// Lets the tracks of a stage claim its detections, so that their gains together are greatest.
    fn associate(&mut self, stage: &Stage, at: Duration, detections: &[Detection]) {
        let Self { tracks, claimed, seekers, free, assignment, last_id, .. } = self;
        let is_free = |index: &usize| !claimed[*index] && stage.scores.contains(&detections[*index].score);
        let seeks = |index: &usize| !tracks[*index].is_seen && (stage.seeks)(tracks[*index].state);
        free.clear();
        free.extend((0..detections.len()).filter(is_free));
        seekers.clear();
        seekers.extend((0..tracks.len()).filter(seeks));
        let gain = |row: usize, column: usize| {
            let (track, found) = (&tracks[seekers[row]].detection, &detections[free[column]]);
            let is_same_class = track.class == found.class;
            if is_same_class { (stage.gain)(track.iou(found), found.score) } else { 0.0 }
        };
        for &(row, column) in assignment.best(seekers.len(), free.len(), gain) {
            let (track, found) = (&mut tracks[seekers[row]], free[column]);
            claimed[found] = true;
            track.see(at, &detections[found]);
            if track.id == 0 {
                *last_id += 1;
                track.id = *last_id;
            }
        }
    }

    /// Drops tracks that were noise, are gone too long, or follow what an older one follows.
    fn forget(&mut self, at: Duration) {
        let memory = self.settings.memory;
        self.tracks.retain_mut(|track| {
            let was_new = track.id == 0;
            if !track.is_seen {
                track.state = State::Lost;
            }
            track.is_seen || (!was_new && at - track.last_seen <= memory)
        });
        let mut index = 0;
        while index < self.tracks.len() {
            if self.is_double(index) {
                self.tracks.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Whether an older track, or one that is seen while this is not, covers the track at `index`.
    fn is_double(&self, index: usize) -> bool {
        let track = &self.tracks[index];
        self.tracks.iter().enumerate().any(|(other_index, other)| {
            other_index != index
                && (other.is_seen, track.id) > (track.is_seen, other.id)
                && !(track.is_seen && other.is_seen)
                && other.detection.class == track.detection.class
                && other.detection.iou(&track.detection) > SAME_OVERLAP
        })
    }

    /// Begins a track for each detection that nothing claimed and that scores high enough.
    fn begin(&mut self, at: Duration, detections: &[Detection]) {
        let is_first = self.before.is_none();
        for (found, _) in detections.iter().zip(&self.claimed).filter(|(_, claimed)| !**claimed) {
            if found.score < self.settings.new_score {
                continue;
            }
            let mut track = Track::new(at, found);
            // What is there when the camera starts is no less real than what is seen twice.
            if is_first {
                self.last_id += 1;
                (track.id, track.state) = (self.last_id, State::Seen);
            }
            self.tracks.push(track);
        }
    }

    fn show(&mut self) {
        self.shown.clear();
        let seen = self.tracks.iter().filter(|track| track.is_seen && track.id > 0);
        self.shown.extend(seen.map(|track| Tracked { id: track.id, detection: track.detection }));
        self.shown.sort_unstable_by_key(|tracked| tracked.id);
    }
}

/// `ByteTrack`'s rounds: what scores high goes to any known object, what scores low only to those just seen, and what is
/// left of the first to those seen once.
fn stages(low_score: f32, high_score: f32) -> [Stage; 3] {
    [
        Stage {
            seeks: |state| state != State::New,
            scores: high_score..f32::INFINITY,
            gain: |overlap, score| overlap * score - HIGH_OVERLAP,
        },
        Stage {
            seeks: |state| state == State::Seen,
            scores: low_score..high_score,
            gain: |overlap, _| overlap - LOW_OVERLAP,
        },
        Stage {
            seeks: |state| state == State::New,
            scores: high_score..f32::INFINITY,
            gain: |overlap, score| overlap * score - SECOND_OVERLAP,
        },
    ]
}

impl Track {
    fn new(at: Duration, found: &Detection) -> Self {
        let motion = Motion::at(found);
        Self { id: 0, state: State::New, detection: *found, motion, last_seen: at, is_seen: true }
    }

    /// Moves on to where the object is expected after `passed`.
    fn predict(&mut self, passed: Duration) {
        if self.state == State::Lost {
            // A box that grew when it was last seen would go on growing.
            self.motion.keep_size();
        }
        self.motion.predict(passed.as_secs_f32());
        self.detection = self.motion.place(self.detection);
        self.is_seen = false;
    }

    fn see(&mut self, at: Duration, found: &Detection) {
        self.motion.correct(found);
        self.detection = self.motion.place(*found);
        self.state = State::Seen;
        self.last_seen = at;
        self.is_seen = true;
    }
}

fn is_box(found: &Detection) -> bool {
    let is_finite =
        [found.score, found.x0, found.y0, found.x1, found.y1].iter().all(|value| value.is_finite());
    is_finite && found.x0 <= found.x1 && found.y0 <= found.y1
}

#[cfg(test)]
mod tests;
