//! What was found on a frame, as every JSON of it has it.

use serde::{Serialize, Serializer};

use super::Object;

/// Objects, with the names of their classes.
#[derive(Debug)]
pub(super) struct Detections<'a> {
    pub(super) objects: &'a [Object],
    pub(super) classes: &'a [String],
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    /// The object's number, where objects are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u32>,
    class: usize,
    name: &'a str,
    score: f32,
    /// Left, top, right and bottom.
    box_px: [f32; 4],
}

impl Serialize for Detections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.objects.iter().map(|Object { track, detection: it }| Found {
            track: *track,
            class: it.class,
            name: self.classes.get(it.class).map_or("", String::as_str),
            score: it.score,
            box_px: [it.x0, it.y0, it.x1, it.y1],
        }))
    }
}
