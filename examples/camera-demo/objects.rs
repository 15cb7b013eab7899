//! What is shown of a frame: everything that was found on it, or, in moving pictures, the objects that are followed.

use std::time::{Duration, Instant};

use anyhow::Result;
use repedge::track::{TrackSettings, Tracker};
use repedge::{Detection, Detector, Limits};

/// Least score at which an object that is followed is still believed, as a part of the score that shows one.
const BELIEVED: f32 = 0.4;

/// An object on a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its number, where objects are followed.
    pub track: Option<u32>,
    pub detection: Detection,
}

/// Makes objects of detections.
pub struct Objects {
    tracker: Option<Tracker>,
    begun: Instant,
    shown: Vec<Object>,
}

impl Objects {
    /// Every detection by itself.
    pub fn apart() -> Self {
        Self { tracker: None, begun: Instant::now(), shown: Vec::new() }
    }

    /// Followed from frame to frame; `detector` is told to give what scores low, too.
    ///
    /// # Errors
    /// When the detector's thresholds are out of range.
    pub fn followed(detector: &mut Detector, confidence: f32) -> Result<Self> {
        let low_score = BELIEVED * confidence;
        let settings = TrackSettings {
            high_score: confidence,
            new_score: confidence,
            low_score,
            memory: Duration::from_secs(1),
        };
        let iou = detector.manifest().iou;
        detector.set_limits(Limits::device(low_score, iou))?;
        Ok(Self { tracker: Some(Tracker::new(settings)?), ..Self::apart() })
    }

    /// Those of the frame that `found` was found on, just now.
    pub fn of(&mut self, found: &[Detection]) -> &[Object] {
        self.shown.clear();
        match &mut self.tracker {
            None => self.shown.extend(found.iter().map(|it| Object { track: None, detection: *it })),
            Some(tracker) => {
                let tracked = tracker.update(self.begun.elapsed(), found).iter();
                self.shown.extend(tracked.map(|it| Object { track: Some(it.id), detection: it.detection }));
            }
        }
        &self.shown
    }
}
