//! What `detect-image --json` wrote, as far as the report shows it. Only reads it.

use std::path::PathBuf;

use repedge::decode::count_names;
use serde::Deserialize;

/// Outcome of running a bundle on pictures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DetectRecord {
    /// Engine that ran.
    pub backend: String,
    /// One entry a picture.
    pub images: Vec<DetectedImage>,
    /// Times over all pictures; absent when there was none.
    pub times_us: Option<DetectTimes>,
}

/// What was found in one picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DetectedImage {
    /// The picture with drawn boxes.
    pub picture: Option<PathBuf>,
    /// The objects.
    pub detections: Vec<DetectedObject>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DetectedObject {
    /// Name of its class.
    pub name: String,
}

/// Times of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct DetectTimes {
    /// Letterbox.
    pub preprocess: Spread,
    /// The engine.
    pub inference: Spread,
    /// Decode and NMS.
    pub decode: Spread,
}

/// How a time is distributed, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Spread {
    /// Half of the pictures took no longer.
    pub median: u64,
}

impl DetectRecord {
    /// Median time of pre-processing, inference and decoding in milliseconds.
    pub(super) fn stages_ms(&self) -> Option<[f64; 3]> {
        let times = self.times_us?;
        #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
        let milliseconds = |spread: Spread| spread.median as f64 / 1e3;
        Some([times.preprocess, times.inference, times.decode].map(milliseconds))
    }

    /// What was found in the picture drawn into a file of this name: "3 cats, 1 dog" as `cat ×3, dog`.
    pub(super) fn caption(&self, file_name: &str) -> Option<String> {
        let has_name = |image: &&DetectedImage| {
            image.picture.as_ref().and_then(|path| path.file_name()).is_some_and(|name| name == file_name)
        };
        let image = self.images.iter().find(has_name)?;
        let counts = count_names(image.detections.iter().map(|object| object.name.as_str()));
        let part = |(name, count): &(&str, usize)| {
            if *count == 1 { (*name).to_owned() } else { format!("{name} ×{count}") }
        };
        let parts: Vec<String> = counts.iter().map(part).collect();
        Some(if parts.is_empty() { String::from("nothing found") } else { parts.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn captions_count_by_class() {
        let record: DetectRecord = serde_json::from_value(json!({
            "backend": "tract", "classes": ["cat"],
            "images": [
                {"image": "a.jpg", "picture": "out/a.png", "detections": [{"name": "cat"}, {"name": "dog"}, {"name": "cat"}]},
                {"image": "b.jpg", "picture": "out/b.png", "detections": []},
                {"image": "c.jpg", "picture": null, "detections": []},
            ],
            "times_us": {
                "read": {"median": 9, "mean": 9}, "preprocess": {"median": 800, "mean": 1},
                "inference": {"median": 25_000, "mean": 1}, "decode": {"median": 150, "mean": 1},
            },
        }))
        .unwrap();
        assert_eq!(record.caption("a.png").as_deref(), Some("cat ×2, dog"));
        assert_eq!(record.caption("b.png").as_deref(), Some("nothing found"));
        assert_eq!(record.caption("c.png"), None);
        assert_eq!(record.stages_ms(), Some([0.8, 25.0, 0.15]));
    }
}
