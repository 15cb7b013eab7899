//! Whether a manifest makes sense: a chain of small checks, the first that fails names the field.

use std::collections::HashSet;

use super::{
    CheckImage, Decode, ExpectedBox, MAX_BINS, MAX_SIDE_PX, Manifest, Payload, Preprocess, RawOutput, Spread,
};
use crate::{DType, Error, Fault, Layout, TensorSpec, digest};

/// Pictures of a self-test; more would only make it slower.
const MAX_CHECK_IMAGES: usize = 32;
/// Far above a picture of a model's size.
const MAX_CHECK_IMAGE_LEN: u64 = 4 << 20;
/// More than any decoder gives.
const MAX_EXPECTED: usize = 1000;

type Check = Result<(), Error>;

impl Manifest {
    /// Checks that the manifest can be run: every name, size, threshold and tensor fits the others.
    ///
    /// # Errors
    /// [`Error::Artifact`] naming the first field that does not.
    pub fn validate(&self) -> Check {
        self.check_names()?;
        self.check_preprocess()?;
        self.check_thresholds()?;
        self.check_decode()?;
        self.check_payload_names()?;
        self.payloads.iter().try_for_each(|payload| self.check_payload(payload))?;
        self.check_images()
    }

    fn check_names(&self) -> Check {
        require(!self.model.is_empty(), || ("the model has no name".into(), "a non-empty `model`"))?;
        require(!self.classes.is_empty(), || ("the class list is empty".into(), "at least one class"))?;
        if let Some(class) = first_repeated(self.classes.iter().map(String::as_str)) {
            return Err(fault(format!("class {class:?} is listed twice"), "unique class names"));
        }
        Ok(())
    }

    fn check_preprocess(&self) -> Check {
        let Preprocess { width_px, height_px, mean, std, .. } = &self.preprocess;
        for (axis, side_px) in [("width_px", *width_px), ("height_px", *height_px)] {
            require((1..=MAX_SIDE_PX).contains(&side_px), || {
                (format!("preprocess.{axis} is {side_px}"), "a side from 1 to 8192 pixels")
            })?;
        }
        require(mean.iter().all(|m| m.is_finite()), || {
            (format!("preprocess.mean is {mean:?}"), "finite numbers")
        })?;
        require(std.iter().all(|s| s.is_finite() && *s > 0.0), || {
            (format!("preprocess.std is {std:?}"), "finite numbers above 0")
        })
    }

    fn check_thresholds(&self) -> Check {
        for (name, value) in [("confidence", self.confidence), ("iou", self.iou)] {
            require((0.0..=1.0).contains(&value), || (format!("{name} is {value}"), "a number from 0 to 1"))?;
        }
        Ok(())
    }

    fn check_decode(&self) -> Check {
        let strides = self.decode.strides();
        require(!strides.is_empty(), || ("decode has 0 strides".into(), "at least one stride"))?;
        for &stride in strides {
            let divides = |side_px: usize| stride != 0 && side_px.is_multiple_of(stride);
            require(divides(self.preprocess.width_px) && divides(self.preprocess.height_px), || {
                (format!("stride {stride} of decode"), "a divisor of the input's width and height")
            })?;
        }
        match &self.decode {
            Decode::Yolov5 { strides, anchors_px, spread } => {
                check_anchors(strides, anchors_px)?;
                Spread::expect_fits(spread, anchors_px)
                    .map_err(|(found, expected)| fault(format!("spread of decode: {found}"), expected))
            }
            Decode::Yolov8 { reg_max, .. } => require((1..=MAX_BINS).contains(reg_max), || {
                (format!("reg_max of decode is {reg_max}"), "1 to 64 bins")
            }),
        }
    }

    fn check_payload_names(&self) -> Check {
        require(!self.payloads.is_empty(), || ("no payload".into(), "at least one payload to run"))?;
        if let Some(name) = first_repeated(self.payloads.iter().map(|p| p.name.as_str())) {
            return Err(fault(format!("two payloads are named {name:?}"), "unique payload names"));
        }
        Ok(())
    }

    fn check_payload(&self, payload: &Payload) -> Check {
        let name = &payload.name;
        check_plain(name)?;
        require(!payload.target.is_empty(), || {
            (format!("payload {name:?} names no target"), "a board, a chip, or `host`")
        })?;
        require(payload.length > 0, || (format!("payload {name:?} is empty"), "at least one byte"))?;
        require(digest::is_hex(&payload.sha256), || {
            (format!("sha256 of payload {name:?} is {:?}", payload.sha256), "64 lowercase hexadecimal digits")
        })?;
        self.check_input(payload)?;
        self.check_outputs(payload)
    }

    fn check_images(&self) -> Check {
        let images = &self.check_images;
        require(images.len() <= MAX_CHECK_IMAGES, || {
            (format!("{} check images", images.len()), "at most 32")
        })?;
        if let Some(name) = first_repeated(images.iter().map(|image| image.name.as_str())) {
            return Err(fault(format!("two check images are named {name:?}"), "unique names"));
        }
        images.iter().try_for_each(|image| self.check_image(image))
    }

    fn check_image(&self, image: &CheckImage) -> Check {
        let name = &image.name;
        check_plain(name)?;
        require((1..=MAX_CHECK_IMAGE_LEN).contains(&image.length), || {
            (format!("check image {name:?} has {} bytes", image.length), "1 byte to 4 MiB")
        })?;
        require(digest::is_hex(&image.sha256), || {
            (
                format!("sha256 of check image {name:?} is {:?}", image.sha256),
                "64 lowercase hexadecimal digits",
            )
        })?;
        require(image.expected.len() <= MAX_EXPECTED, || {
            (format!("check image {name:?} expects {} boxes", image.expected.len()), "at most 1000")
        })?;
        let is_sane = |it: &ExpectedBox| {
            let [left, top, right, bottom] = it.box_px;
            it.class < self.classes.len()
                && (0.0..=1.0).contains(&it.score)
                && it.box_px.iter().all(|side| side.is_finite())
                && left <= right
                && top <= bottom
        };
        require(image.expected.iter().all(is_sane), || {
            (format!("check image {name:?} expects {:?}", image.expected), "boxes of known classes")
        })
    }

    fn check_input(&self, payload: &Payload) -> Check {
        let input = &payload.input;
        check_tensor(&payload.name, input)?;
        let Preprocess { width_px, height_px, .. } = self.preprocess;
        let fits = input.channels() == 3 && input.height_width() == (height_px, width_px);
        require(fits, || {
            (
                format!("input {:?} of payload {:?} has shape {:?}", input.name, payload.name, input.shape),
                "3 channels of the height and width of `preprocess`",
            )
        })
    }

    fn check_outputs(&self, payload: &Payload) -> Check {
        let expected = self.decode.raw_outputs(self.classes.len());
        require(payload.outputs.len() == expected.len(), || {
            (
                format!("payload {:?} has {} outputs", payload.name, payload.outputs.len()),
                "the outputs that `decode` takes of each stride",
            )
        })?;
        for (output, RawOutput { stride, channels }) in payload.outputs.iter().zip(expected) {
            check_tensor(&payload.name, output)?;
            let cells = (self.preprocess.height_px / stride, self.preprocess.width_px / stride);
            require(output.channels() == channels && output.height_width() == cells, || {
                (
                    format!(
                        "output {:?} of payload {:?} has shape {:?}; {channels} channels of {cells:?} cells fit",
                        output.name, payload.name, output.shape
                    ),
                    "the channels that `decode` takes over the input divided by the stride",
                )
            })?;
        }
        Ok(())
    }
}

/// A name that is one plain word wherever it is written: no folder, no hidden file, nothing for a shell or a terminal.
fn check_plain(name: &str) -> Check {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let holds = (1..=64).contains(&name.len()) && !name.starts_with(['.', '-']) && name.chars().all(is_plain);
    require(holds, || {
        (
            format!("{name:?} is the name of a payload or check image"),
            "1 to 64 letters, digits, '.', '_' and '-', not beginning with '.' or '-'",
        )
    })
}

/// One list a stride, and no anchor that no image could hold.
fn check_anchors(strides: &[usize], anchors_px: &[Vec<[f32; 2]>]) -> Check {
    require(strides.len() == anchors_px.len(), || {
        (
            format!("decode has {} strides and {} lists of anchors", strides.len(), anchors_px.len()),
            "one list of anchors for each stride",
        )
    })?;
    require(anchors_px.iter().all(|list| !list.is_empty()), || {
        ("an output without anchors in decode".into(), "at least one anchor for each stride")
    })?;
    let box_px = || anchors_px.iter().flatten().flatten();
    let limit_px = 16.0 * to_f32(MAX_SIDE_PX);
    require(box_px().all(|side_px| *side_px > 0.0 && *side_px <= limit_px), || {
        (format!("anchors_px are {anchors_px:?}"), "widths and heights above 0 and not beyond any image")
    })
}

/// A usable tensor: batch 1, a size that does not overflow, and a quantization exactly where one is needed.
fn check_tensor(payload: &str, spec: &TensorSpec) -> Check {
    let at = || format!("tensor {:?} of payload {payload:?}", spec.name);
    require(!matches!(spec.layout, Layout::Nc1hwc2 { .. }), || {
        (format!("{} is in an order that only an NPU's memory has", at()), "nchw or nhwc")
    })?;
    let elements = spec.shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
    let sane = spec.shape[0] == 1 && elements.is_some_and(|n| n > 0 && n <= u32::MAX as usize);
    require(sane, || (format!("{} has shape {:?}", at(), spec.shape), "batch 1 and no empty dimension"))?;
    require(spec.dtype != DType::I8 || spec.quant.is_some(), || {
        (format!("{} is int8 without quantization", at()), "a scale and a zero point")
    })?;
    require(spec.dtype != DType::F32 || spec.quant.is_none(), || {
        (format!("{} is a float with quantization", at()), "a scale and zero point only for integers")
    })?;
    let Some(quant) = spec.quant else { return Ok(()) };
    require(quant.scale.is_finite() && quant.scale > 0.0, || {
        (format!("{} has scale {}", at(), quant.scale), "a finite scale above 0")
    })?;
    let range = if spec.dtype == DType::U8 { 0..=255 } else { -128..=127 };
    require(range.contains(&quant.zero_point), || {
        (format!("{} has zero point {}", at(), quant.zero_point), "a value that its type can hold")
    })
}

fn require(holds: bool, otherwise: impl FnOnce() -> (String, &'static str)) -> Check {
    if holds {
        return Ok(());
    }
    let (found, expected) = otherwise();
    Err(fault(found, expected))
}

fn fault(found: String, expected: &str) -> Error {
    Error::Artifact(Fault::new(
        format!("manifest: {found}"),
        expected,
        "the bundle was written wrongly: make it again with `train-host convert` of the same version",
    ))
}

fn first_repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

#[expect(clippy::cast_precision_loss, reason = "sides are at most 8192, exact in f32")]
fn to_f32(side_px: usize) -> f32 {
    side_px as f32
}
