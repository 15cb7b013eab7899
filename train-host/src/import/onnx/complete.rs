//! What a graph does not tell by itself: the names of the classes, and the anchors of a raw head. Says in a note where
//! something had to be assumed.

use super::head::{Found, Told};
use super::metadata::{BoxSpread, Metadata};
use crate::model::{Boxes, Head};
use crate::{Error, Result};

/// Width and height in pixels of the anchors of each stride.
type Anchors = Vec<Vec<[f32; 2]>>;

/// YOLOv5's anchors in pixels at strides 8, 16 and 32 (ultralytics/yolov5 v6, all models from n to x).
const YOLOV5_ANCHORS_PX: [[[f32; 2]; 3]; 3] = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];

/// The class names that the caller or else the file gives.
pub(super) fn class_names(
    asked: Option<&Vec<String>>,
    metadata: &Metadata,
    notes: &mut Vec<String>,
) -> Option<Vec<String>> {
    match asked.cloned().map(Ok).or_else(|| metadata.classes.clone())? {
        Ok(names) => Some(names),
        Err(reason) => {
            notes.push(format!("the class names in the file cannot be read: {reason}"));
            None
        }
    }
}

/// The head found, with names and anchors.
///
/// # Errors
/// [`Error::Input`] when there are not as many names as classes, [`Error::Model`] when nothing tells the anchors.
pub(super) fn head(
    found: Found,
    names: Option<Vec<String>>,
    metadata: &Metadata,
    notes: &mut Vec<String>,
) -> Result<Head> {
    let Found { strides, classes, boxes, .. } = found;
    let spread = spread(&boxes, metadata)?;
    let boxes = match boxes {
        Told::Distances { reg_max } => Boxes::Distances { reg_max },
        Told::Anchors { anchors_px: Some(anchors_px), .. } => Boxes::Anchors { anchors_px },
        Told::Anchors { anchors_px: None, count } => {
            Boxes::Anchors { anchors_px: anchors(strides.len(), count, metadata, notes)? }
        }
    };
    let generic = (0..classes).map(|class| format!("class{class}")).collect();
    let mut head = Head { classes: generic, strides, boxes, spread };
    match names {
        Some(names) => head.rename(names)?,
        None => notes.push(format!(
            "the file names none of its {classes} classes: they are called class0, class1, …; --names of convert, import \
             and eval gives them names"
        )),
    }
    Ok(head)
}

/// How boxes are spread. A file that decodes itself has undone that.
///
/// # Errors
/// [`Error::Model`] when what is written there cannot be read, or the file decodes itself.
fn spread(boxes: &Told, metadata: &Metadata) -> Result<BoxSpread> {
    let found = match (&metadata.box_spread, boxes) {
        (None, _) => return Ok(BoxSpread::new()),
        (Some(Ok(spread)), Told::Anchors { anchors_px: None, .. }) => return Ok(spread.clone()),
        (Some(Ok(_)), _) => "a box_spread beside a head that has no raw anchors".to_owned(),
        (Some(Err(reason)), _) => format!("a box_spread that cannot be read: {reason}"),
    };
    Err(Error::model(
        found,
        "what train-host wrote: gain and offset of the box channels of each anchor",
        "take the file as train-host wrote it, or export the model again",
    ))
}

/// Anchors of a head that does not decode: those that the exporter wrote beside it, else YOLOv5's.
fn anchors(strides: usize, count: usize, metadata: &Metadata, notes: &mut Vec<String>) -> Result<Anchors> {
    let fits = |anchors: &Anchors| anchors.len() == strides && anchors.iter().all(|list| list.len() == count);
    if let Some(stated) = metadata.anchors_px.clone().filter(fits) {
        return Ok(stated);
    }
    let usual = YOLOV5_ANCHORS_PX.map(|list| list.to_vec()).to_vec();
    if !fits(&usual) {
        return Err(Error::model(
            format!("a raw head of {count} anchors at each of {strides} strides"),
            "its anchors",
            "export the model with its decoding, which holds them",
        ));
    }
    notes.push(
        "the file states no anchors: YOLOv5's are taken; boxes are wrong if it was trained with others"
            .into(),
    );
    Ok(usual)
}
