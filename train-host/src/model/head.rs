//! What the raw outputs mean: classes, strides, and how boxes are told: by anchors (YOLOv5's Detect layer) or by
//! distances (the split heads of YOLOv8 and YOLO11).

use artifact::{Decode, MAX_BINS, RawOutput, Spread};
use serde::{Deserialize, Serialize};

use super::architecture::misfit;
use crate::{Error, Result};

/// Detection head over one or more strides, finest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Head {
    /// Class names in the order of the class scores.
    pub classes: Vec<String>,
    /// Stride in pixels of each level of the feature pyramid.
    pub strides: Vec<usize>,
    /// How the outputs of a level tell boxes.
    pub boxes: Boxes,
    /// What the box channels of each anchor of each output tell of their logits; empty where they are logits, as in every
    /// model but those that `quantize` made ready for a device that stores boxes and scores with one scale.
    pub spread: Vec<Vec<[Spread; 4]>>,
}

/// How boxes are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Boxes {
    /// One output a stride, `[N, anchors·(5 + classes), H/stride, W/stride]`: see [`Decode::Yolov5`].
    Anchors {
        /// Anchor width and height in pixels, for each output.
        anchors_px: Vec<Vec<[f32; 2]>>,
    },
    /// Two outputs a stride, `[N, 4·reg_max, H/stride, W/stride]` for boxes and `[N, classes, H/stride, W/stride]`
    /// after it: see [`Decode::Yolov8`]. Such models are imported, converted and measured, never trained.
    Distances {
        /// Bins of each distance.
        reg_max: usize,
    },
}

impl Head {
    /// A head with anchors.
    pub fn with_anchors(classes: Vec<String>, strides: Vec<usize>, anchors_px: Vec<Vec<[f32; 2]>>) -> Self {
        Self { classes, strides, boxes: Boxes::Anchors { anchors_px }, spread: Vec::new() }
    }

    /// Its anchors in pixels, for each stride.
    ///
    /// # Errors
    /// [`Error::Model`] when it has none: what trains and carries weights over knows heads with anchors only.
    pub fn anchors_px(&self) -> Result<&[Vec<[f32; 2]>]> {
        match &self.boxes {
            Boxes::Anchors { anchors_px } => Ok(anchors_px),
            Boxes::Distances { .. } => Err(Error::model(
                "a model with a split head, as of YOLOv8 and YOLO11",
                "a model with anchors, as of YOLOv5",
                "split heads can be converted and evaluated, but neither trained nor used to start a training",
            )),
        }
    }

    /// What `channel` of the raw output `output` tells of its logit: all but box channels of anchors are logits.
    pub fn spread_of(&self, output: usize, channel: usize) -> Spread {
        let (anchor, part) = (channel / (5 + self.classes.len()), channel % (5 + self.classes.len()));
        let of_anchor = self.spread.get(output).and_then(|anchors| anchors.get(anchor));
        of_anchor.and_then(|spread| spread.get(part)).copied().unwrap_or(Spread::NONE)
    }

    /// Gives the classes other names.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not as many names as classes.
    pub fn rename(&mut self, names: Vec<String>) -> Result<()> {
        let count = self.classes.len();
        if names.len() != count {
            return Err(Error::input(
                format!("{} class names for a model of {count} classes", names.len()),
                format!("{count} names"),
                "give them with --names; other tasks than detection (segmentation, pose) are not supported",
            ));
        }
        self.classes = names;
        Ok(())
    }

    /// Checks strides, and anchors or bins.
    ///
    /// # Errors
    /// [`Error::Model`] naming what cannot be.
    pub fn validate(&self) -> Result<()> {
        if let Some(stride) = self.strides.iter().find(|stride| !stride.is_power_of_two()) {
            return Err(misfit(format!("an output stride of {stride}"), "powers of two"));
        }
        match &self.boxes {
            Boxes::Anchors { anchors_px } if anchors_px.len() != self.strides.len() => Err(misfit(
                format!("{} strides, {} anchor lists", self.strides.len(), anchors_px.len()),
                "one anchor list a stride",
            )),
            Boxes::Anchors { anchors_px } => anchors_px.iter().try_for_each(|anchors| check_anchors(anchors)),
            Boxes::Distances { reg_max } if !(1..=MAX_BINS).contains(reg_max) => {
                Err(misfit(format!("reg_max {reg_max}"), format!("1 to {MAX_BINS} bins")))
            }
            Boxes::Distances { .. } => Ok(()),
        }?;
        self.check_spread()
    }

    fn check_spread(&self) -> Result<()> {
        let anchors_px = match &self.boxes {
            Boxes::Anchors { anchors_px } => anchors_px.as_slice(),
            Boxes::Distances { .. } => &[],
        };
        Spread::expect_fits(&self.spread, anchors_px).map_err(|(found, expected)| misfit(found, expected))
    }

    /// Stride and channels of each output of the graph, in order.
    pub fn raw_outputs(&self) -> Vec<RawOutput> {
        self.decode().raw_outputs(self.classes.len())
    }

    /// How a device decodes the raw outputs.
    pub fn decode(&self) -> Decode {
        let strides = self.strides.clone();
        match &self.boxes {
            Boxes::Anchors { anchors_px } => {
                Decode::Yolov5 { strides, anchors_px: anchors_px.clone(), spread: self.spread.clone() }
            }
            &Boxes::Distances { reg_max } => Decode::Yolov8 { strides, reg_max },
        }
    }
}

fn check_anchors(anchors_px: &[[f32; 2]]) -> Result<()> {
    if anchors_px.is_empty() || anchors_px.iter().flatten().any(|side| !(side.is_finite() && *side > 0.0)) {
        return Err(misfit(format!("anchors {anchors_px:?}"), "positive widths and heights in pixels"));
    }
    Ok(())
}

/// How a head stands in a file: exactly one of `anchors_px` and `reg_max`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    classes: Vec<String>,
    strides: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchors_px: Option<Vec<Vec<[f32; 2]>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reg_max: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spread: Vec<Vec<[Spread; 4]>>,
}

impl TryFrom<Stored> for Head {
    type Error = &'static str;

    fn try_from(stored: Stored) -> std::result::Result<Self, Self::Error> {
        let Stored { classes, strides, anchors_px, reg_max, spread } = stored;
        let boxes = match (anchors_px, reg_max) {
            (Some(anchors_px), None) => Boxes::Anchors { anchors_px },
            (None, Some(reg_max)) => Boxes::Distances { reg_max },
            _ => return Err("a head has either `anchors_px` or `reg_max`"),
        };
        Ok(Self { classes, strides, boxes, spread })
    }
}

impl From<Head> for Stored {
    fn from(head: Head) -> Self {
        let Head { classes, strides, boxes, spread } = head;
        let (anchors_px, reg_max) = match boxes {
            Boxes::Anchors { anchors_px } => (Some(anchors_px), None),
            Boxes::Distances { reg_max } => (None, Some(reg_max)),
        };
        Self { classes, strides, anchors_px, reg_max, spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_both_kinds_survive_json_and_nothing_between_is_read() {
        let anchors = r#"{"classes":["a"],"strides":[8],"anchors_px":[[[1.0,2.0]]]}"#;
        let distances = r#"{"classes":["a"],"strides":[8],"reg_max":16}"#;
        for text in [anchors, distances] {
            let head: Head = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&head).unwrap(), text);
        }
        let both = r#"{"classes":["a"],"strides":[8],"anchors_px":[[[1,2]]],"reg_max":16}"#;
        for text in
            [both, r#"{"classes":["a"],"strides":[8]}"#, r#"{"classes":[],"strides":[],"reg_max":1,"x":1}"#]
        {
            assert!(serde_json::from_str::<Head>(text).is_err(), "{text}");
        }
    }

    /// One class, two anchors.
    fn spread_head(spread: Vec<Vec<[Spread; 4]>>) -> Head {
        let head = Head::with_anchors(vec!["a".into()], vec![8], vec![vec![[1.0, 2.0]; 2]]);
        Head { spread, ..head }
    }

    #[test]
    fn box_channels_alone_are_spread() {
        let wide = Spread { gain: 2.0, offset: 1.0 };
        let head = spread_head(vec![vec![[Spread::NONE; 4], [Spread::NONE, wide, wide, wide]]]);
        head.validate().unwrap();
        let spread: Vec<bool> = (0..12).map(|channel| head.spread_of(0, channel) == wide).collect();
        let expected = [vec![false; 7], vec![true; 3], vec![false; 2]].concat();
        assert_eq!(spread, expected);
        assert_eq!(head.spread_of(1, 7), Spread::NONE);
        let Decode::Yolov5 { spread, .. } = head.decode() else { panic!("anchors") };
        assert_eq!(spread, head.spread);
        let json = serde_json::to_string(&head).unwrap();
        assert_eq!(serde_json::from_str::<Head>(&json).unwrap(), head);
    }

    #[test]
    fn a_spread_that_does_not_fit_is_refused() {
        let of = |gain: f32, offset: f32| vec![vec![[Spread { gain, offset }; 4]; 2]];
        spread_head(of(1.5, -2.0)).validate().unwrap();
        for spread in [
            vec![vec![[Spread::NONE; 4]]],
            of(0.0, 0.0),
            // A bundle's manifest would refuse it.
            of(f32::MIN_POSITIVE / 2.0, 0.0),
            of(f32::NAN, 0.0),
            of(1.0, f32::INFINITY),
        ] {
            let error = spread_head(spread).validate().unwrap_err().to_string();
            assert!(error.contains("box channels"), "{error}");
        }
        let split = Head { boxes: Boxes::Distances { reg_max: 4 }, ..spread_head(of(2.0, 0.0)) };
        assert!(split.validate().is_err());
    }

    #[test]
    fn split_heads_have_no_anchors_and_say_so() {
        let head = Head { boxes: Boxes::Distances { reg_max: 16 }, ..spread_head(Vec::new()) };
        assert!(head.anchors_px().unwrap_err().to_string().contains("neither trained"));
    }
}
