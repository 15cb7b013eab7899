//! Augmented batches made ahead of the training loop by worker threads. The order and content of batches depend on
//! seed and epoch only, never on how many workers there are.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use artifact::Preprocess;
use rand::seq::SliceRandom;
use repedge::frame::{Image, read_image};
use repedge::preprocess::{LetterboxMap, Preprocessor};
use repedge::{DType, Layout, Tensor, TensorData, TensorSpec};

use super::keys::{Purpose, generator};
use crate::dataset::augment::{PixelBox, Scaled, Strength, augment};
use crate::dataset::{Dataset, LabelBox, Sample};
use crate::{Error, Result};

/// Batches each worker prepares before it waits.
const AHEAD: usize = 2;
/// Decoded images are kept in memory up to this many bytes; beyond it they are decoded anew each time.
const CACHE_BYTES: usize = 4 << 30;

/// A batch of training pictures.
pub struct Batch {
    /// `[images, side, side, 3]` bytes.
    pub rgb: Vec<u8>,
    /// Boxes of each image, in pixels.
    pub boxes: Vec<Vec<PixelBox>>,
}

/// The batches of one or more epochs, in order.
pub struct Batches {
    /// One a worker; they take turns.
    receivers: Vec<Receiver<Result<Batch>>>,
    served: usize,
}

impl Batches {
    /// The next batch, and how long it had to be waited for.
    ///
    /// # Errors
    /// [`Error::Data`] for a broken image.
    pub fn next_batch(&mut self) -> Result<(Batch, Duration)> {
        let started = Instant::now();
        let turn = self.served % self.receivers.len();
        let batch = self.receivers[turn].recv().map_err(|_| stopped())??;
        self.served += 1;
        Ok((batch, started.elapsed()))
    }
}

/// Reads and augments the images of a dataset.
pub struct Loader<'a> {
    dataset: &'a Dataset,
    side: usize,
    batch: usize,
    seed: u64,
    strength: Strength,
    workers: usize,
    cache: Vec<OnceLock<Arc<Scaled>>>,
    cached: usize,
}

impl<'a> Loader<'a> {
    /// A loader of square pictures of `side` pixels.
    pub fn new(
        dataset: &'a Dataset,
        side: usize,
        batch: usize,
        seed: u64,
        strength: Strength,
        workers: usize,
    ) -> Self {
        let count = dataset.samples.len();
        let cached = (CACHE_BYTES / (side * side * 3)).min(count);
        let cache = (0..count).map(|_| OnceLock::new()).collect();
        Self {
            dataset,
            side,
            batch,
            seed,
            strength,
            workers: workers.clamp(1, count.div_ceil(batch).max(1)),
            cache,
            cached,
        }
    }

    /// Batches in an epoch; the last may be smaller.
    pub fn batches(&self) -> usize {
        self.dataset.samples.len().div_ceil(self.batch)
    }

    /// Lets `consume` take the batches of `epochs`, [`Loader::batches`] for each. They are made ahead across the ends of
    /// epochs, so that validating between two of them leaves nobody waiting afterwards.
    ///
    /// # Errors
    /// Whatever `consume` reports.
    pub fn serve<T>(
        &self,
        epochs: Range<usize>,
        consume: impl FnOnce(&mut Batches) -> Result<T>,
    ) -> Result<T> {
        std::thread::scope(|scope| {
            let start = |worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let epochs = epochs.clone();
                scope.spawn(move || self.work(worker, epochs, &sender));
                receiver
            };
            // Dropped before the scope waits for the workers: a closed channel is what ends them.
            let mut batches = Batches { receivers: (0..self.workers).map(start).collect(), served: 0 };
            consume(&mut batches)
        })
    }

    /// Makes every batch whose turn is `worker`'s.
    fn work(&self, worker: usize, epochs: Range<usize>, sender: &SyncSender<Result<Batch>>) {
        let mut turn = (0..self.workers).cycle();
        for epoch in epochs {
            let order = self.order(epoch);
            for (index, members) in order.chunks(self.batch).enumerate() {
                if turn.next() != Some(worker) {
                    continue;
                }
                let batch = self.make(epoch, index * self.batch, members);
                let failed = batch.is_err();
                // A closed channel means that the loop gave up: nothing is left to do.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        }
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.samples.len()).collect();
        order.shuffle(&mut generator(self.seed, Purpose::Order, epoch, 0));
        order
    }

    fn make(&self, epoch: usize, first: usize, members: &[usize]) -> Result<Batch> {
        let mut rgb = Vec::with_capacity(members.len() * self.side * self.side * 3);
        let mut boxes = Vec::with_capacity(members.len());
        for (offset, &member) in members.iter().enumerate() {
            let mut rng = generator(self.seed, Purpose::Augment, epoch, first + offset);
            let count = self.dataset.samples.len();
            let picture = augment(member, count, self.side, &self.strength, &mut rng, |i| self.load(i))?;
            rgb.extend_from_slice(&picture.rgb);
            boxes.push(picture.boxes);
        }
        Ok(Batch { rgb, boxes })
    }

    fn load(&self, index: usize) -> Result<Arc<Scaled>> {
        if let Some(scaled) = self.cache[index].get() {
            return Ok(scaled.clone());
        }
        let scaled = Arc::new(read_scaled(&self.dataset.samples[index], self.side)?);
        if index < self.cached {
            // Another worker may have been faster; both hold the same pixels.
            let _ = self.cache[index].set(scaled.clone());
        }
        Ok(scaled)
    }
}

/// Decodes an image and scales its long side to `side` pixels, with the device's own letterbox.
fn read_scaled(sample: &Sample, side: usize) -> Result<Scaled> {
    let source = read_image(&sample.image)?;
    let spec = TensorSpec {
        name: "picture".into(),
        dtype: DType::U8,
        layout: Layout::Nhwc,
        shape: [1, side, side, 3],
        quant: None,
    };
    let mut square = Tensor::zeroed(&spec);
    let mut letterbox = Preprocessor::new(&Preprocess::yolo(side, side), &spec)?;
    let map = letterbox.run(source.frame(), &mut square)?;
    let image = crop(&square, &map, side);
    let boxes = sample.boxes.iter().map(|b| to_pixels(b, &map)).collect();
    Ok(Scaled { image, boxes })
}

/// The letterboxed picture without its bars.
fn crop(square: &Tensor, map: &LetterboxMap, side: usize) -> Image {
    let TensorData::U8(pixels) = &square.data else { return Image::filled(0, 0, [0; 3]) };
    let span = map.left_px * 3..(map.left_px + map.resized_width_px) * 3;
    let rows = pixels.chunks_exact(side * 3).skip(map.top_px).take(map.resized_height_px);
    let rgb = rows.flat_map(|row| &row[span.clone()]).copied().collect();
    Image { width_px: map.resized_width_px, height_px: map.resized_height_px, rgb }
}

#[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
fn to_pixels(b: &LabelBox, map: &LetterboxMap) -> PixelBox {
    let (width, height) = (map.resized_width_px as f32, map.resized_height_px as f32);
    PixelBox {
        class: b.class,
        x0: (b.cx - b.w / 2.0) * width,
        y0: (b.cy - b.h / 2.0) * height,
        x1: (b.cx + b.w / 2.0) * width,
        y1: (b.cy + b.h / 2.0) * height,
    }
}

fn stopped() -> Error {
    Error::backend(
        "a loader thread stopped early",
        "one batch after another",
        "this is a defect: please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelBox;

    fn dataset(folder: &std::path::Path) -> Dataset {
        let samples = (0..5u8)
            .map(|i| {
                let path = folder.join(format!("{i}.png"));
                image::RgbImage::from_pixel(20, 10, image::Rgb([i * 40; 3])).save(&path).unwrap();
                let boxes = vec![LabelBox { class: 0, cx: 0.5, cy: 0.5, w: 0.5, h: 0.5 }];
                Sample { image: path, width_px: 20, height_px: 10, boxes }
            })
            .collect();
        Dataset { classes: vec!["a".into()], samples, skipped: 0, notes: Default::default() }
    }

    fn collect(dataset: &Dataset, workers: usize) -> Vec<(Vec<u8>, Vec<Vec<PixelBox>>)> {
        let strength = super::super::hyper::Hyper::default().strength();
        let loader = Loader::new(dataset, 32, 2, 9, strength, workers);
        let take = |batches: &mut Batches| {
            (0..2 * loader.batches()).map(|_| batches.next_batch().map(|(b, _)| (b.rgb, b.boxes))).collect()
        };
        loader.serve(3..5, take).unwrap()
    }

    #[test]
    fn batches_do_not_depend_on_the_number_of_workers() {
        let dir = tempfile::tempdir().unwrap();
        let data = dataset(dir.path());
        let one = collect(&data, 1);
        let sizes: Vec<usize> = one.iter().map(|(_, boxes)| boxes.len()).collect();
        assert_eq!(sizes, [2, 2, 1, 2, 2, 1]);
        assert_ne!(one[..3], one[3..]);
        assert_eq!(one, collect(&data, 3));
    }

    #[test]
    fn a_missing_image_ends_the_batches_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let data = dataset(dir.path());
        std::fs::remove_file(dir.path().join("3.png")).unwrap();
        let loader = Loader::new(&data, 32, 2, 9, super::super::hyper::Hyper::default().strength(), 2);
        let all =
            |batches: &mut Batches| (0..loader.batches()).try_for_each(|_| batches.next_batch().map(drop));
        let error = loader.serve(0..1, all).unwrap_err().to_string();
        assert!(error.contains("3.png"), "{error}");
    }
}
