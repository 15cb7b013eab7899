//! Raw outputs become detections in source pixels: decode, class-aware NMS, the way back through the letterbox.
//! Allocates nothing once made, and never trusts a number: NaN and infinities are passed over.

mod candidates;
mod logits;
mod nms;
mod plane;
mod real;
mod steps;
mod winners;
mod yolo;
mod yolov8;

use artifact::{Decode, Fault, Tensor, TensorSpec, TensorView};

use crate::Error;
use crate::preprocess::LetterboxMap;
use candidates::Candidates;

/// One object found.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Detection {
    /// Index into the class names.
    pub class: usize,
    /// Confidence, 0..1.
    pub score: f32,
    /// Left edge in source pixels.
    pub x0: f32,
    /// Top edge in source pixels.
    pub y0: f32,
    /// Right edge in source pixels.
    pub x1: f32,
    /// Bottom edge in source pixels.
    pub y1: f32,
}

impl Detection {
    /// Intersection over union with `other`, 0 for two boxes without area.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let height = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        let intersection = width * height;
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    fn area(&self) -> f32 {
        (self.x1 - self.x0) * (self.y1 - self.y0)
    }
}

/// How often each name occurs, in the order they first do: for captions like `2 cat, 1 dog`.
pub fn count_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts
}

/// How many classes a box may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// The best one: what a device shows.
    #[default]
    Best,
    /// Every class above the threshold, each a detection of its own: what COCO-style evaluation expects.
    Multi,
}

/// Most detections of a frame on a device.
pub(crate) const MOST_DETECTIONS: usize = 300;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Boxes need a score above this, 0..=1.
    pub confidence: f32,
    /// Of two boxes of a class that overlap more than this (intersection over union, 0..=1), the weaker is dropped.
    pub iou: f32,
    /// Most detections of a frame.
    pub max_detections: usize,
    /// Most boxes that enter NMS; the best are taken.
    pub max_candidates: usize,
    /// How many classes a box may have.
    pub labels: Labels,
}

impl Limits {
    /// A device's limits: the best class, at most 300 detections out of 30000 candidates.
    pub fn device(confidence: f32, iou: f32) -> Self {
        let max_detections = MOST_DETECTIONS;
        Self { confidence, iou, max_detections, max_candidates: 30_000, labels: Labels::Best }
    }

    /// YOLOv5's limits for measuring mAP: confidence 0.001, overlap 0.6, every class of a box.
    pub fn evaluation() -> Self {
        Self { labels: Labels::Multi, ..Self::device(0.001, 0.6) }
    }

    fn check(&self) -> Result<(), Error> {
        for (name, value) in [("confidence", self.confidence), ("iou", self.iou)] {
            if !(0.0..=1.0).contains(&value) {
                let found = format!("{name} threshold {value}");
                return Err(Error::Input(Fault::new(found, "a number from 0 to 1", format!("set --{name}"))));
            }
        }
        if self.max_detections == 0 || self.max_candidates == 0 {
            return Err(Error::Input(Fault::new(
                "a limit of 0 detections or candidates",
                "at least 1 of each",
                "leave the defaults of Limits::device",
            )));
        }
        Ok(())
    }
}

/// The kinds of heads there are, each with one entry a stride.
#[derive(Debug, Clone)]
enum Heads {
    Yolov5(Vec<yolo::Head>),
    Yolov8(Vec<yolov8::Level>),
}

impl Heads {
    fn new(decode: &Decode, classes: usize, outputs: &[TensorSpec]) -> Result<Self, Error> {
        match decode {
            Decode::Yolov5 { strides, anchors_px, spread } => {
                let anchors = yolo::anchors(anchors_px, spread)?;
                yolo::heads(strides, anchors, classes, outputs).map(Self::Yolov5)
            }
            Decode::Yolov8 { strides, reg_max } => {
                yolov8::levels(strides, *reg_max, classes, outputs).map(Self::Yolov8)
            }
        }
    }

    /// Number of boxes all outputs hold.
    fn boxes(&self) -> usize {
        match self {
            Self::Yolov5(heads) => heads.iter().map(yolo::Head::boxes).sum(),
            Self::Yolov8(levels) => levels.iter().map(yolov8::Level::boxes).sum(),
        }
    }

    /// Adds the boxes above the threshold; the outputs have the shapes given to [`Heads::new`].
    fn decode<'v>(
        &self,
        outputs: impl Iterator<Item = TensorView<'v>> + Clone,
        limits: &Limits,
        found: &mut Candidates,
    ) -> Result<(), Error> {
        match self {
            Self::Yolov5(heads) => {
                heads.iter().zip(outputs).try_for_each(|(head, output)| head.decode(output, limits, found))
            }
            Self::Yolov8(levels) => {
                let (boxes, scores) = (outputs.clone().step_by(2), outputs.skip(1).step_by(2));
                let mut pairs = levels.iter().zip(boxes.zip(scores));
                pairs.try_for_each(|(level, (boxes, scores))| level.decode(boxes, scores, limits, found))
            }
        }
    }
}

/// Decodes the outputs of one model, frame after frame.
#[derive(Debug, Clone)]
pub struct Decoder {
    heads: Heads,
    outputs: Vec<TensorSpec>,
    limits: Limits,
    candidates: Candidates,
    suppression: nms::Suppression,
    detections: Vec<Detection>,
}

impl Decoder {
    /// A decoder for a model of `classes` classes that gives `outputs`.
    ///
    /// # Errors
    /// [`Error::Input`] when a limit is out of range or the outputs do not fit the decoding (see
    /// [`artifact::Decode`]).
    pub fn new(
        decode: &Decode,
        classes: usize,
        outputs: &[TensorSpec],
        limits: Limits,
    ) -> Result<Self, Error> {
        limits.check()?;
        let heads = Heads::new(decode, classes, outputs)?;
        let labels = if limits.labels == Labels::Multi { classes } else { 1 };
        let limit = limits.max_candidates.min(heads.boxes().saturating_mul(labels));
        let max_detections = limits.max_detections.min(limit);
        Ok(Self {
            heads,
            outputs: outputs.to_vec(),
            limits,
            candidates: Candidates::with_limit(limit),
            suppression: nms::Suppression::new(classes, max_detections),
            detections: Vec::with_capacity(max_detections),
        })
    }

    /// Changes the least score of a box, from the next frame on; allocates nothing.
    ///
    /// # Errors
    /// [`Error::Input`] when it is out of range.
    pub fn set_confidence(&mut self, confidence: f32) -> Result<(), Error> {
        let limits = Limits { confidence, ..self.limits };
        limits.check()?;
        self.limits = limits;
        Ok(())
    }

    /// The detections in `outputs`, best first, in source pixels and clipped to the frame; of equal scores the
    /// earlier output, anchor, cell and class comes first. Boxes that lie in the letterbox bars are dropped.
    ///
    /// # Errors
    /// [`Error::Input`] when `outputs` are not of the specifications given to [`Decoder::new`].
    pub fn detect(&mut self, outputs: &[Tensor], map: &LetterboxMap) -> Result<&[Detection], Error> {
        self.detect_views(outputs.iter().map(Tensor::view), map)
    }

    /// As [`Decoder::detect`], over outputs that are read where they lie.
    ///
    /// # Errors
    /// As [`Decoder::detect`].
    pub fn detect_views<'v>(
        &mut self,
        outputs: impl ExactSizeIterator<Item = TensorView<'v>> + Clone,
        map: &LetterboxMap,
    ) -> Result<&[Detection], Error> {
        self.check_outputs(outputs.clone())?;
        self.candidates.clear();
        self.heads.decode(outputs, &self.limits, &mut self.candidates)?;
        let kept = self.suppression.run(self.candidates.best_first(), &self.limits);
        self.detections.clear();
        self.detections.extend(kept.iter().filter_map(|kept| to_source(kept, map)));
        Ok(&self.detections)
    }

    fn check_outputs<'v>(
        &self,
        outputs: impl ExactSizeIterator<Item = TensorView<'v>> + Clone,
    ) -> Result<(), Error> {
        let fit = outputs.len() == self.outputs.len()
            && outputs.clone().zip(&self.outputs).all(|(output, spec)| output.matches(spec));
        if fit {
            return Ok(());
        }
        let shapes: Vec<_> = outputs.map(|output| output.shape).collect();
        Err(Error::Input(Fault::new(
            format!("outputs of shapes {shapes:?}"),
            format!("the outputs this decoder was made for: {:?}", self.outputs),
            "make the decoder from the session's outputs",
        )))
    }
}

/// Maps a box from the model input to the source and clips it; none when nothing of it is visible.
fn to_source(kept: &candidates::Candidate, map: &LetterboxMap) -> Option<Detection> {
    let (width, height) = map.source_size();
    let (x0, y0) = map.to_source(kept.x0, kept.y0);
    let (x1, y1) = map.to_source(kept.x1, kept.y1);
    let (x0, x1) = (x0.clamp(0.0, width), x1.clamp(0.0, width));
    let (y0, y1) = (y0.clamp(0.0, height), y1.clamp(0.0, height));
    let visible = x0 < x1 && y0 < y1;
    visible.then_some(Detection { class: kept.class, score: kept.score, x0, y0, x1, y1 })
}

fn misfit(found: String, expected: &str) -> Error {
    Error::Input(Fault::new(
        found,
        expected,
        "the bundle's decode section does not fit its model: convert it again",
    ))
}

#[cfg(test)]
mod tests;
