//! What was found, for people and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};

use repedge::backend::rknn::PoolReport;
use repedge::decode::count_names;
use repedge::{Detection, Detector, Image, StageTimes};
use serde::Serialize;

/// The `--json` document.
#[derive(Debug, Serialize)]
pub struct Report {
    bundle: PathBuf,
    model: String,
    /// The engine that ran, and why not a better one.
    backend: String,
    payload: String,
    fallback: Option<String>,
    /// What happened on the NPU, where it ran.
    npu: Option<PoolReport>,
    classes: Vec<String>,
    pub images: Vec<ImageReport>,
    skipped: Vec<Skipped>,
    /// Median and mean over the images.
    times_us: Option<Times<Spread>>,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    image: PathBuf,
    width_px: usize,
    height_px: usize,
    picture: Option<PathBuf>,
    detections: Vec<Found>,
    times_us: Times<u64>,
}

/// A detection with its class by name; `box_px` is left, top, right, bottom in source pixels.
#[derive(Debug, Serialize)]
struct Found {
    class: usize,
    name: String,
    score: f32,
    box_px: [f32; 4],
}

/// An image that could not be used.
#[derive(Debug, Serialize)]
struct Skipped {
    image: PathBuf,
    reason: String,
}

/// A value for each stage.
#[derive(Debug, Clone, Copy, Serialize)]
struct Times<T> {
    read: T,
    preprocess: T,
    inference: T,
    decode: T,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median: u64,
    mean: u64,
}

impl Report {
    pub fn new(bundle: &Path, detector: &Detector) -> Self {
        Self {
            bundle: bundle.to_path_buf(),
            model: detector.manifest().model.clone(),
            backend: detector.backend().to_string(),
            payload: detector.payload().to_owned(),
            fallback: detector.fallback().map(str::to_owned),
            npu: detector.npu_report(),
            classes: detector.classes().to_vec(),
            images: Vec::new(),
            skipped: Vec::new(),
            times_us: None,
        }
    }

    pub fn skip(&mut self, image: &Path, error: &anyhow::Error) {
        self.skipped.push(Skipped { image: image.to_path_buf(), reason: error.to_string() });
    }

    /// Fills in the times over all images, and the engine that ran last.
    pub fn finish(&mut self, detector: &Detector) {
        self.backend = detector.backend().to_string();
        detector.payload().clone_into(&mut self.payload);
        self.fallback = detector.fallback().map(str::to_owned);
        self.npu = detector.npu_report();
        let spread = |stage: fn(&Times<u64>) -> u64| {
            Spread::of(self.images.iter().map(|image| stage(&image.times_us)).collect())
        };
        self.times_us = spread(|t| t.read).and_then(|read| {
            Some(Times {
                read,
                preprocess: spread(|t| t.preprocess)?,
                inference: spread(|t| t.inference)?,
                decode: spread(|t| t.decode)?,
            })
        });
    }

    /// A line for people.
    pub fn summary(&self) -> String {
        let objects: usize = self.images.iter().map(|image| image.detections.len()).sum();
        let mut line = format!("{} images, {objects} objects, backend {}", self.images.len(), self.backend);
        if !self.skipped.is_empty() {
            line += &format!(", {} skipped", self.skipped.len());
        }
        if let Some(times) = &self.times_us {
            line += &format!(
                "; median ms: preprocess {}, inference {}, decode {}",
                Millis(times.preprocess.median),
                Millis(times.inference.median),
                Millis(times.decode.median)
            );
        }
        line
    }
}

impl ImageReport {
    pub fn new(
        path: &Path,
        image: &Image,
        picture: Option<&Path>,
        boxes: &[Detection],
        classes: &[String],
        read_us: u64,
        times: StageTimes,
    ) -> Self {
        let StageTimes { preprocess_us, inference_us, decode_us } = times;
        Self {
            image: path.to_path_buf(),
            width_px: image.width_px,
            height_px: image.height_px,
            picture: picture.map(Path::to_path_buf),
            detections: boxes.iter().map(|found| Found::new(found, classes)).collect(),
            times_us: Times {
                read: read_us,
                preprocess: preprocess_us,
                inference: inference_us,
                decode: decode_us,
            },
        }
    }
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}x{}, ", self.image.display(), self.width_px, self.height_px)?;
        let counts = count_names(self.detections.iter().map(|found| found.name.as_str()));
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
        write!(f, "{counts}, {} ms", Millis(self.times_us.inference))
    }
}

impl Found {
    fn new(detection: &Detection, classes: &[String]) -> Self {
        let Detection { class, score, x0, y0, x1, y1 } = *detection;
        let name = classes.get(class).cloned().unwrap_or_default();
        Self { class, name, score, box_px: [x0, y0, x1, y1] }
    }
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let median = *values.get(values.len() / 2)?;
        let mean = values.iter().sum::<u64>() / values.len() as u64;
        Some(Self { median, mean })
    }
}

/// Microseconds shown as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 100)
    }
}
