//! Pictures for the self-test of a device: a few of those given, and what the packed model finds on them when the host's
//! CPU runs it. Small, because they travel in the bundle.

use std::path::{Path, PathBuf};

use artifact::{CheckImage, ExpectedBox, Tensor};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, RgbImage};
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use repedge::decode::{Decoder, Limits};
use repedge::frame::{parse_image, read_image};
use repedge::preprocess::Preprocessor;
use repedge::{Frame, Image};

use super::bundle::{self, CONFIDENCE, Deployed, IOU};
use crate::console::say;
use crate::{Error, Result};

/// Pictures that are packed; a self-test looks at each.
const MOST: usize = 8;
/// Pictures that are looked at to find as many on which something is sure to be found.
const LOOKED_AT: usize = 64;
/// Score that makes a picture worth packing.
const SURE: f32 = 0.5;
/// Visually without loss, a fourth of a PNG.
const JPEG_QUALITY: u8 = 95;

/// Pictures with what is known of them, and the bytes of each.
#[derive(Debug, Default)]
pub struct CheckImages {
    /// For the manifest.
    pub described: Vec<CheckImage>,
    /// For the file.
    pub bytes: Vec<Vec<u8>>,
}

/// Takes pictures of `paths`, evenly spread, on which `model` is sure to find something; none where it never is.
///
/// # Errors
/// [`Error::Runtime`] when tract refuses the model or an image cannot be read.
pub fn choose(model: Deployed<'_>, paths: &[PathBuf]) -> Result<CheckImages> {
    let mut chosen = CheckImages::default();
    if paths.is_empty() {
        return Ok(chosen);
    }
    let mut looker = Looker::new(model)?;
    let count = paths.len().min(LOOKED_AT);
    for path in (0..count).map(|at| &paths[at * paths.len() / count]) {
        let bytes = shrunk(path, model.imgsz())?;
        let name = format!("{:02}.jpg", chosen.described.len() + 1);
        let expected = looker.find(parse_image(&name, &bytes)?.frame())?;
        if expected.iter().any(|it| it.score >= SURE) {
            chosen.described.push(CheckImage::new(name, expected, &bytes));
            chosen.bytes.push(bytes);
        }
        if chosen.described.len() == MOST {
            break;
        }
    }
    if chosen.described.is_empty() {
        say(format_args!(
            "note: the model finds nothing with a score of {SURE} on {count} images: none is packed"
        ));
    }
    Ok(chosen)
}

/// The file at `path` as a JPEG that is no larger than the model's input.
fn shrunk(path: &Path, side_px: usize) -> Result<Vec<u8>> {
    let Image { width_px, height_px, rgb } = read_image(path)?;
    let side = |px: usize| u32::try_from(px).unwrap_or(u32::MAX);
    let Some(image) = RgbImage::from_raw(side(width_px), side(height_px), rgb) else {
        return Err(Error::data(format!("{}: too large", path.display()), "a picture", "leave it out"));
    };
    let longest = width_px.max(height_px);
    let image = if longest <= side_px {
        image
    } else {
        let scaled = |px: usize| side((px * side_px / longest).max(1));
        imageops::resize(&image, scaled(width_px), scaled(height_px), FilterType::Triangle)
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(|e| Error::io(path, std::io::Error::other(e)))?;
    Ok(jpeg)
}

/// The model on the host, as a device would run it.
struct Looker {
    session: TractSession,
    preprocessor: Preprocessor,
    decoder: Decoder,
    input: Tensor,
    outputs: Vec<Tensor>,
}

impl Looker {
    fn new(model: Deployed<'_>) -> Result<Self> {
        let session = match model {
            Deployed::Fused(model) => super::session(model)?,
            Deployed::Quantized(model) => super::quantized_session(model)?,
        };
        let head = &model.architecture().head;
        let limits = Limits::device(CONFIDENCE, IOU);
        Ok(Self {
            preprocessor: Preprocessor::new(&bundle::preprocess(model.imgsz()), session.input())?,
            decoder: Decoder::new(&bundle::decode(head), head.classes.len(), session.outputs(), limits)?,
            input: Tensor::zeroed(session.input()),
            outputs: session.outputs().iter().map(Tensor::zeroed).collect(),
            session,
        })
    }

    fn find(&mut self, frame: Frame<'_>) -> Result<Vec<ExpectedBox>> {
        let map = self.preprocessor.run(frame, &mut self.input)?;
        self.session.run(&self.input, &mut self.outputs)?;
        let found = self.decoder.detect(&self.outputs, &map)?;
        let expected = |it: &repedge::Detection| ExpectedBox {
            class: it.class,
            score: it.score,
            box_px: [it.x0, it.y0, it.x1, it.y1],
        };
        Ok(found.iter().map(expected).collect())
    }
}
