//! A frame becomes the model input: letterbox with OpenCV's bilinear resize, color from what cameras give, then the tensor's
//! type and layout, in one pass over the frame.
//! Allocates nothing once a frame of the same size has been seen. Never crops or distorts.

mod letterbox;
mod resize;
pub mod rga;
mod yuv;

use artifact::{DType, Fault, Layout, Preprocess, Tensor, TensorData, TensorSpec};

use crate::{Error, Picture};

pub use letterbox::LetterboxMap;
use resize::Resizer;
use yuv::YuvResizer;

/// Turns frames into the input of one model.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    recipe: Preprocess,
    spec: TensorSpec,
    /// Real value of each pixel value, for each channel.
    real: [Vec<f32>; 3],
    rows: Rows,
}

/// What makes resized rows of RGB, for each kind of frame.
#[derive(Debug, Clone, Default)]
struct Rows {
    rgb: Resizer,
    yuv: YuvResizer,
}

impl Rows {
    /// Gives each resized row of `picture` with its number to `sink`.
    fn run(&mut self, picture: Picture<'_>, map: &LetterboxMap, sink: impl FnMut(usize, &[u8])) {
        match picture {
            Picture::Rgb(frame) => {
                self.rgb.prepare(map);
                self.rgb.run(frame.rgb, sink);
            }
            Picture::Yuv(frame) => {
                self.yuv.prepare(map, &frame);
                self.yuv.run(&frame, sink);
            }
        }
    }
}

impl Preprocessor {
    /// A preprocessor that fills tensors of `spec`: f32 NCHW (with mean and std applied) or u8 NHWC (plain pixels).
    ///
    /// # Errors
    /// [`Error::Input`] when `spec` is of another type or layout, or its size is not the recipe's.
    pub fn new(recipe: &Preprocess, spec: &TensorSpec) -> Result<Self, Error> {
        let supported =
            matches!((spec.dtype, spec.layout), (DType::F32, Layout::Nchw) | (DType::U8, Layout::Nhwc));
        let sized = spec.shape[0] == 1
            && spec.channels() == 3
            && spec.height_width() == (recipe.height_px, recipe.width_px)
            && !spec.is_empty();
        if !(supported && sized) {
            return Err(Error::Input(Fault::new(
                format!("model input {:?} is {:?} {:?} {:?}", spec.name, spec.dtype, spec.layout, spec.shape),
                format!("f32 NCHW or u8 NHWC, 3 channels of {}x{}", recipe.height_px, recipe.width_px),
                "convert the model again with this version of RepEdge",
            )));
        }
        let real = std::array::from_fn(|channel| real_values(recipe, channel));
        Ok(Self { recipe: *recipe, spec: spec.clone(), real, rows: Rows::default() })
    }

    /// Fills `input` from `frame` and tells how to map boxes back.
    ///
    /// # Errors
    /// [`Error::Input`] when the frame's sides and bytes do not fit together, or `input` is not of the specification.
    pub fn run<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
        input: &mut Tensor,
    ) -> Result<LetterboxMap, Error> {
        let picture = picture.into();
        picture.check()?;
        if !input.matches(&self.spec) {
            return Err(self.wrong_input(input));
        }
        let map = self.map(picture);
        match &mut input.data {
            TensorData::F32(planes) => self.fill_planes(picture, &map, planes),
            TensorData::U8(pixels) => self.fill_pixels(picture, &map, pixels),
            TensorData::I8(_) => return Err(self.wrong_input(input)),
        }
        Ok(map)
    }

    /// As [`Preprocessor::run`], into bytes that lie elsewhere, such as in memory of the NPU: rows of RGB, where the
    /// model takes plain pixels.
    ///
    /// # Errors
    /// [`Error::Input`] when the frame's sides and bytes do not fit together, the model takes something else than u8
    /// NHWC, or `pixels` are not as many as it takes.
    pub fn run_pixels<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
        pixels: &mut [u8],
    ) -> Result<LetterboxMap, Error> {
        let picture = picture.into();
        picture.check()?;
        if self.spec.dtype != DType::U8 || pixels.len() != self.spec.len() {
            return Err(Error::Input(Fault::new(
                format!("{} bytes of pixels", pixels.len()),
                format!("the pixels of {:?}", self.spec),
                "use Preprocessor::run with a tensor of the session's input",
            )));
        }
        let map = self.map(picture);
        self.fill_pixels(picture, &map, pixels);
        Ok(map)
    }

    fn map(&self, picture: Picture<'_>) -> LetterboxMap {
        let (width_px, height_px) = picture.size_px();
        LetterboxMap::fit(width_px, height_px, &self.recipe)
    }

    fn wrong_input(&self, input: &Tensor) -> Error {
        Error::Input(Fault::new(
            format!("an input tensor of shape {:?}", input.shape),
            format!("a tensor of {:?}", self.spec),
            "make it with Tensor::zeroed from the session's input",
        ))
    }

    fn fill_planes(&mut self, picture: Picture<'_>, map: &LetterboxMap, planes: &mut [f32]) {
        let (width, height) = (self.recipe.width_px, self.recipe.height_px);
        let pad = usize::from(self.recipe.pad_value);
        for (plane, real) in planes.chunks_exact_mut(width * height).zip(&self.real) {
            fill_bars(plane, width, map, real[pad]);
        }
        let (red, rest) = planes.split_at_mut(width * height);
        let (green, blue) = rest.split_at_mut(width * height);
        let real = &self.real;
        self.rows.run(picture, map, |row, pixels| {
            let start = (map.top_px + row) * width + map.left_px;
            let span = start..start + map.resized_width_px;
            let planes = red[span.clone()].iter_mut().zip(&mut green[span.clone()]).zip(&mut blue[span]);
            for (((r, g), b), pixel) in planes.zip(pixels.as_chunks::<3>().0) {
                *r = real[0][usize::from(pixel[0])];
                *g = real[1][usize::from(pixel[1])];
                *b = real[2][usize::from(pixel[2])];
            }
        });
    }

    fn fill_pixels(&mut self, picture: Picture<'_>, map: &LetterboxMap, pixels: &mut [u8]) {
        let width = self.recipe.width_px;
        fill_bars(pixels.as_chunks_mut::<3>().0, width, map, [self.recipe.pad_value; 3]);
        self.rows.run(picture, map, |row, resized| {
            let start = ((map.top_px + row) * width + map.left_px) * 3;
            pixels[start..start + resized.len()].copy_from_slice(resized);
        });
    }
}

/// Fills what the resized frame does not cover of rows of `width` elements.
fn fill_bars<T: Copy>(elements: &mut [T], width: usize, map: &LetterboxMap, pad: T) {
    let covered_rows = map.top_px..map.top_px + map.resized_height_px;
    for (row, elements) in elements.chunks_exact_mut(width).enumerate() {
        if covered_rows.contains(&row) {
            elements[..map.left_px].fill(pad);
            elements[map.left_px + map.resized_width_px..].fill(pad);
        } else {
            elements.fill(pad);
        }
    }
}

fn real_values(recipe: &Preprocess, channel: usize) -> Vec<f32> {
    let (mean, std) = (recipe.mean[channel], recipe.std[channel]);
    (0..=u8::MAX).map(|pixel| (f32::from(pixel) / 255.0 - mean) / std).collect()
}

#[cfg(test)]
mod tests;
