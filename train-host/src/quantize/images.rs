//! Images a model is calibrated on: read, letterboxed as the device does, and handed out one at a time, a few ahead in a
//! second thread. Never keeps them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use artifact::{DType, Layout, Tensor, TensorSpec};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use repedge::frame::{IMAGE_EXTENSIONS, Image, read_image, write_png};
use repedge::preprocess::{LetterboxMap, Preprocessor};

use crate::dataset::Dataset;
use crate::evaluate::Progress;
use crate::export::{bundle, onnx};
use crate::{Error, Result};

/// Images read ahead of the model; each holds a whole input tensor.
const AHEAD: usize = 2;

/// An image as a model sees it.
pub struct Shown<'a> {
    /// Its file.
    pub path: &'a Path,
    /// The float input.
    pub tensor: &'a Tensor,
    /// Where the picture is in it.
    pub content: Content,
}

/// Where a picture lies in a letterboxed square: all but the gray bars. What is measured is measured there, because
/// the bars give the same few values over large parts of every tensor, and nothing is found in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    side: usize,
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Content {
    /// The whole of a square of `side` pixels.
    pub fn whole(side: usize) -> Self {
        Self { side, top: 0, bottom: side, left: 0, right: side }
    }

    fn of(map: &LetterboxMap, side: usize) -> Self {
        Self {
            side,
            top: map.top_px,
            bottom: map.top_px + map.resized_height_px,
            left: map.left_px,
            right: map.left_px + map.resized_width_px,
        }
    }

    /// Rows and columns of the picture in a plane of `height` × `width`, at least one of each.
    pub fn within(&self, height: usize, width: usize) -> (Range<usize>, Range<usize>) {
        let span = |from: usize, to: usize, size: usize| {
            let start = (from * size).div_ceil(self.side).min(size - 1);
            start..(to * size / self.side).max(start + 1)
        };
        (span(self.top, self.bottom, height), span(self.left, self.right, width))
    }

    /// The picture's part of `values`, planes of `height` × `width`.
    pub fn crop(&self, values: &[f32], height: usize, width: usize) -> Vec<f32> {
        let (rows, columns) = self.within(height, width);
        let mut cropped = Vec::with_capacity(values.len());
        for plane in values.chunks(height * width) {
            for row in rows.clone() {
                cropped.extend_from_slice(&plane[row * width..][columns.clone()]);
            }
        }
        cropped
    }
}

/// Image files, and their labels where there are any.
#[derive(Debug, Clone)]
pub struct Images {
    paths: Vec<PathBuf>,
    labels: Option<Dataset>,
    progress: Progress,
}

impl Images {
    /// The given files, without labels.
    ///
    /// # Errors
    /// [`Error::Data`] when there is none.
    pub fn new(paths: Vec<PathBuf>, progress: Progress) -> Result<Self> {
        if paths.is_empty() {
            return Err(none());
        }
        Ok(Self { paths, labels: None, progress })
    }

    /// The images of `dataset`, with its labels.
    ///
    /// # Errors
    /// [`Error::Data`] when there is none.
    pub fn labeled(dataset: Dataset, progress: Progress) -> Result<Self> {
        let paths = dataset.samples.iter().map(|sample| sample.image.clone()).collect();
        Ok(Self { labels: Some(dataset), ..Self::new(paths, progress)? })
    }

    /// The images in `folder`, which needs no labels.
    ///
    /// # Errors
    /// [`Error::Data`] when it holds none, an I/O error when it cannot be listed.
    pub fn in_folder(folder: &Path, progress: Progress) -> Result<Self> {
        let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io(folder, e))?.path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if path.is_file() && IMAGE_EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension)) {
                paths.push(path);
            }
        }
        paths.sort();
        Self::new(paths, progress)
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Their labels, in the order of the files.
    pub fn labels(&self) -> Option<&Dataset> {
        self.labels.as_ref()
    }

    /// Whether progress bars are drawn.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// At most `count` of them, spread evenly.
    pub fn spread(&self, count: usize) -> Self {
        let count = count.min(self.paths.len());
        self.pick((0..count).map(|at| at * self.paths.len() / count).collect())
    }

    /// The same images without a progress bar, for work that is a step of some other.
    pub fn quiet(&self) -> Self {
        Self { progress: Progress::Hidden, ..self.clone() }
    }

    /// The images and two altered copies of each in `folder`, without labels: mirrored, and the middle of it nearer by a
    /// third. What is found on them, too, is less by chance. Of large pictures the copies are what a model of `imgsz`
    /// pixels sees of them, byte for byte, so that they take no more room than that.
    ///
    /// # Errors
    /// [`Error::Runtime`] when an image cannot be read, an I/O error when a copy cannot be written.
    pub fn with_copies(&self, folder: &Path, imgsz: usize) -> Result<Self> {
        let bar = bar(self.paths.len(), "altered copies", self.progress);
        let copies = |(at, path): (usize, &PathBuf)| -> Result<[PathBuf; 2]> {
            let image = read_image(path)?;
            let name = |what: &str| folder.join(format!("{at}-{what}.png"));
            let [mirrored, nearer] = [name("mirrored"), name("nearer")];
            write_png(&mirrored, &seen(mirror(&image), imgsz)?)?;
            write_png(&nearer, &seen(middle(&image), imgsz)?)?;
            bar.inc(1);
            Ok([mirrored, nearer])
        };
        let copies: Vec<[PathBuf; 2]> =
            self.paths.par_iter().enumerate().map(copies).collect::<Result<_>>()?;
        bar.finish_and_clear();
        let paths = self.paths.iter().cloned().chain(copies.into_iter().flatten()).collect();
        Self::new(paths, self.progress)
    }

    /// Those at `places`, in that order.
    pub(super) fn pick(&self, places: Vec<usize>) -> Self {
        let labels = self.labels.as_ref().map(|labels| Dataset {
            samples: places.iter().map(|&at| labels.samples[at].clone()).collect(),
            ..labels.clone()
        });
        Self {
            paths: places.iter().map(|&at| self.paths[at].clone()).collect(),
            labels,
            progress: self.progress,
        }
    }

    /// Hands each image to `each` as a model of `imgsz` pixels sees it, in order. `what` names the work.
    ///
    /// # Errors
    /// [`Error::Runtime`] for an image that cannot be read; what `each` reports.
    pub fn stream(
        &self,
        imgsz: usize,
        what: &'static str,
        mut each: impl FnMut(&Shown<'_>) -> Result<()>,
    ) -> Result<()> {
        let spec = input_spec(imgsz);
        let mut preprocessor = Preprocessor::new(&bundle::preprocess(imgsz), &spec)?;
        let bar = bar(self.paths.len(), what, self.progress);
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            let spec = &spec;
            scope.spawn(move || {
                for path in &self.paths {
                    let mut read = || -> Result<(Tensor, LetterboxMap)> {
                        let image = read_image(path)?;
                        let mut tensor = Tensor::zeroed(spec);
                        let map = preprocessor.run(image.frame(), &mut tensor)?;
                        Ok((tensor, map))
                    };
                    // Fails when the other side has stopped: then nobody wants more.
                    if sender.send((path, read())).is_err() {
                        break;
                    }
                }
            });
            for (path, read) in receiver {
                let (tensor, map) = read?;
                each(&Shown { path, tensor: &tensor, content: Content::of(&map, imgsz) })?;
                bar.inc(1);
            }
            bar.finish_and_clear();
            Ok(())
        })
    }
}

/// The float input of a model of `imgsz` pixels.
pub fn input_spec(imgsz: usize) -> TensorSpec {
    TensorSpec {
        name: onnx::INPUT_NAME.to_owned(),
        dtype: DType::F32,
        layout: Layout::Nchw,
        shape: [1, 3, imgsz, imgsz],
        quant: None,
    }
}

/// A progress bar of `length` steps that says `what` is being done.
pub(super) fn bar(length: usize, what: &'static str, progress: Progress) -> ProgressBar {
    match progress {
        Progress::Hidden => ProgressBar::hidden(),
        Progress::Bar => {
            let style = ProgressStyle::with_template("{msg:>16} [{bar:32}] {pos}/{len}, {eta} left")
                .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
            ProgressBar::new(length as u64).with_style(style).with_message(what)
        }
    }
}

fn none() -> Error {
    Error::data(
        "no image to calibrate on",
        "at least one image like those the device will see; 64 or more are better",
        "check the path given with --calib (folders within a folder are not searched), and --images",
    )
}

/// `image` with left and right changed.
fn mirror(image: &Image) -> Image {
    let rows = image.rgb.chunks(image.width_px * 3);
    let rgb = rows.flat_map(|row| row.chunks(3).rev().flatten().copied()).collect();
    Image { rgb, ..*image }
}

/// The middle three quarters of `image`, along both sides.
fn middle(image: &Image) -> Image {
    let part = |side: usize| (side / 8, (side - side / 8 * 2).max(1));
    let ((left, width_px), (top, height_px)) = (part(image.width_px), part(image.height_px));
    let rows = image.rgb.chunks(image.width_px * 3).skip(top).take(height_px);
    let rgb = rows.flat_map(|row| row[left * 3..][..width_px * 3].iter().copied()).collect();
    Image { width_px, height_px, rgb }
}

/// `image`, or where letterboxing to `imgsz` pixels makes it smaller, what that makes of it: letterboxing that again
/// changes no byte, because it already fits.
fn seen(image: Image, imgsz: usize) -> Result<Image> {
    if image.width_px.max(image.height_px) <= imgsz {
        return Ok(image);
    }
    let spec = TensorSpec {
        dtype: DType::U8,
        layout: Layout::Nhwc,
        shape: [1, imgsz, imgsz, 3],
        ..input_spec(imgsz)
    };
    let mut square = vec![0; spec.len()];
    let map = Preprocessor::new(&bundle::preprocess(imgsz), &spec)?.run_pixels(image.frame(), &mut square)?;
    let LetterboxMap { resized_width_px: width_px, resized_height_px: height_px, left_px, top_px, .. } = map;
    let rows = square.chunks(imgsz * 3).skip(top_px).take(height_px);
    let rgb = rows.flat_map(|row| row[left_px * 3..][..width_px * 3].iter().copied()).collect();
    Ok(Image { width_px, height_px, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: usize) -> Images {
        let paths = (0..count).map(|i| PathBuf::from(i.to_string())).collect();
        Images::new(paths, Progress::Hidden).unwrap()
    }

    #[test]
    fn copies_are_mirrored_and_nearer() {
        let (source, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut image = Image::filled(16, 8, [10; 3]);
        image.rgb[..3].copy_from_slice(&[1, 2, 3]);
        image.rgb[(16 + 2) * 3..][..3].copy_from_slice(&[4, 5, 6]);
        write_png(&source.path().join("a.png"), &image).unwrap();
        let images = Images::in_folder(source.path(), Progress::Hidden).unwrap();
        let all = images.with_copies(copies.path(), 32).unwrap();
        assert_eq!(all.paths()[0], images.paths()[0]);
        let [mirrored, nearer] = [1, 2].map(|at| read_image(&all.paths()[at]).unwrap());
        assert_eq!(mirrored.rgb[15 * 3..][..3], [1, 2, 3]);
        assert_eq!((nearer.width_px, nearer.height_px), (12, 6));
        assert_eq!(nearer.rgb[..6], [4, 5, 6, 10, 10, 10]);
        assert_eq!(middle(&Image::filled(1, 1, [7; 3])).rgb, [7; 3]);
    }

    #[test]
    fn a_large_picture_is_kept_as_small_as_a_model_sees_it() {
        let mut preprocessor = Preprocessor::new(&bundle::preprocess(32), &input_spec(32)).unwrap();
        let mut tensor_of = |image: &Image| {
            let mut tensor = Tensor::zeroed(&input_spec(32));
            preprocessor.run(image.frame(), &mut tensor).unwrap();
            tensor
        };
        for [width_px, height_px] in [[77, 50], [40, 91], [33, 33], [400, 1], [64, 32], [31, 90]] {
            let pixel = |at: usize| u8::try_from(at * at % 251).unwrap();
            let rgb = (0..width_px * height_px * 3).map(pixel).collect();
            let image = Image { width_px, height_px, rgb };
            let small = seen(image.clone(), 32).unwrap();
            assert_eq!(small.width_px.max(small.height_px), 32);
            assert!(tensor_of(&small) == tensor_of(&image), "{width_px}x{height_px}");
        }
        let fits = Image::filled(32, 20, [7; 3]);
        assert_eq!(seen(fits.clone(), 32).unwrap().rgb, fits.rgb);
    }

    #[test]
    fn no_image_is_an_error_that_says_where_to_look() {
        let error = Images::new(Vec::new(), Progress::Hidden).unwrap_err().to_string();
        assert!(error.contains("no image") && error.contains("--calib"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(Images::in_folder(empty.path(), Progress::Hidden).is_err());
    }

    #[test]
    fn the_picture_is_cut_out_of_its_bars() {
        let content = Content { side: 8, top: 2, bottom: 6, left: 0, right: 8 };
        assert_eq!(content.within(8, 8), (2..6, 0..8));
        assert_eq!(content.within(4, 4), (1..3, 0..4));
        assert_eq!(content.within(1, 1), (0..1, 0..1));
        let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let cropped = content.crop(&values, 4, 4);
        assert_eq!(cropped[..8], values[4..12]);
        assert_eq!(cropped[8..], values[20..28]);
        assert_eq!(Content::whole(8).crop(&values, 4, 4), values);
    }

    #[test]
    fn a_part_is_spread_over_the_whole() {
        let names = |images: &Images| {
            images.paths().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&images(8).spread(4)), "0 2 4 6");
        assert_eq!(names(&images(3).spread(9)), "0 1 2");
    }
}
