//! What sinks say of a frame in words: a copy without its pixels, whose memory is used again, and its JSON.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::detections::Detections;
use super::{FrameTimes, Object, Shown, Vitals};

/// All that is known of a frame but its pixels.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) number: u64,
    pub(super) source_number: u64,
    pub(super) size_px: [usize; 2],
    pub(super) objects: Vec<Object>,
    /// Shared with copies: there may be many, and they do not change.
    pub(super) classes: Arc<[String]>,
    pub(super) times: FrameTimes,
    pub(super) vitals: Vitals,
}

impl Snapshot {
    /// Becomes that of another frame.
    pub(super) fn take(&mut self, shown: &Shown<'_>) {
        self.number = shown.number;
        self.source_number = shown.shot.number;
        self.size_px = [shown.shot.width_px, shown.shot.height_px];
        self.objects.clear();
        self.objects.extend_from_slice(shown.objects);
        if *self.classes != *shown.classes {
            self.classes = shown.classes.into();
        }
        (self.times, self.vitals) = (shown.times, shown.vitals);
    }

    /// The frame's entries of a JSON document.
    pub(super) fn entries<S: Serializer>(&self, map: &mut S::SerializeMap) -> Result<(), S::Error> {
        map.serialize_entry("frame", &self.number)?;
        map.serialize_entry("source_frame", &self.source_number)?;
        map.serialize_entry("width_px", &self.size_px[0])?;
        map.serialize_entry("height_px", &self.size_px[1])?;
        map.serialize_entry("detections", &Detections { objects: &self.objects, classes: &self.classes })?;
        map.serialize_entry("times", &self.times)?;
        map.serialize_entry("vitals", &self.vitals)
    }
}

/// As the JSON lines have it.
impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries::<S>(&mut map)?;
        map.end()
    }
}
