//! What is in a split: counts, sizes and faults as numbers, label plots, and a sheet of labeled pictures.
//! Changes nothing in the dataset.

mod plots;
mod sheet;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Broken, BrokenFile, LabelBox, Notes, Sample, Scan, Source, Split, verify};
use crate::Result;
use crate::console::counted;

/// Below this area in pixels a box is small, up to [`MEDIUM_BELOW_PX2`] medium (COCO's evaluation).
const SMALL_BELOW_PX2: f64 = 32.0 * 32.0;
const MEDIUM_BELOW_PX2: f64 = 96.0 * 96.0;

/// One split, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// `train`, `val` or `test`.
    pub split: String,
    /// Sound images.
    pub images: usize,
    /// Of them, images without a label.
    pub images_without_labels: usize,
    /// Labels.
    pub boxes: usize,
    /// Per class, in class order.
    pub classes: Vec<ClassCount>,
    /// Boxes by COCO's size classes, in pixels of the image files.
    pub sizes: SizeCount,
    /// Width of the images in pixels.
    pub image_width_px: Option<Quantiles>,
    /// Height of the images in pixels.
    pub image_height_px: Option<Quantiles>,
    /// Labels on an image.
    pub boxes_per_image: Option<Quantiles>,
    /// Width of the boxes in pixels.
    pub box_width_px: Option<Quantiles>,
    /// Height of the boxes in pixels.
    pub box_height_px: Option<Quantiles>,
    /// Width over height of the boxes.
    pub box_aspect: Option<Quantiles>,
    /// Labels that were dropped or cut without being broken.
    pub notes: Notes,
    /// Broken labels and images.
    pub broken: Vec<BrokenFile>,
    /// Label files that belong to no image.
    pub orphans: Vec<PathBuf>,
}

/// How often a class occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Class name.
    pub name: String,
    /// Labels of the class.
    pub boxes: usize,
    /// Images with at least one of them.
    pub images: usize,
}

/// Boxes by area: below 32² pixels, below 96², and above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Area below 32².
    pub small: usize,
    /// Area from 32² to 96².
    pub medium: usize,
    /// Area from 96² on.
    pub large: usize,
}

/// Where the values of a quantity lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Smallest.
    pub min: f64,
    /// 5 % lie below.
    pub p5: f64,
    /// Half lie below.
    pub median: f64,
    /// 95 % lie below.
    pub p95: f64,
    /// Largest.
    pub max: f64,
}

impl Quantiles {
    /// Nearest-rank quantiles; none of no value.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted[(last * percent + 50) / 100];
        Some(Self { min: sorted[0], p5: at(5), median: at(50), p95: at(95), max: sorted[last] })
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = [self.min, self.p5, self.median, self.p95, self.max];
        let digits = if self.max < 100.0 && values.iter().any(|v| v.fract() != 0.0) { 2 } else { 0 };
        for value in values {
            write!(f, "{value:>9.digits$}")?;
        }
        Ok(())
    }
}

/// Reads `split`, decodes every image, measures the labels, and (with `out`) draws `SPLIT-labels.svg` and
/// `SPLIT-pictures.png` into that folder. Broken samples are listed, not an error.
///
/// # Errors
/// [`crate::Error::Data`] when there is no such split, [`crate::Error::Artifact`] when something cannot be read or written.
pub fn inspect(source: &Source, split: Split, out: Option<&Path>) -> Result<Inspection> {
    let Scan { mut dataset, mut faults, orphans } = source.scan(split)?;
    let undecodable = verify(&dataset.samples);
    dataset.samples.retain(|sample| !undecodable.iter().any(|fault| fault.path == sample.image));
    faults.extend(undecodable);
    if let Some(folder) = out {
        plots::write(&folder.join(format!("{split}-labels.svg")), &dataset)?;
        sheet::write(&folder.join(format!("{split}-pictures.png")), &dataset)?;
    }
    let measured = measure(split, &dataset.classes, &dataset.samples);
    Ok(Inspection { notes: dataset.notes, broken: faults, orphans, ..measured })
}

/// The numbers; faults and notes are still empty.
fn measure(split: Split, classes: &[String], samples: &[Sample]) -> Inspection {
    let boxes =
        || samples.iter().flat_map(|sample| sample.boxes.iter().map(|label| box_size_px(sample, label)));
    Inspection {
        split: split.to_string(),
        images: samples.len(),
        images_without_labels: samples.iter().filter(|sample| sample.boxes.is_empty()).count(),
        boxes: boxes().count(),
        classes: count_classes(classes, samples),
        sizes: count_sizes(boxes().map(|[w, h]| w * h)),
        image_width_px: Quantiles::of(samples.iter().map(|sample| f64::from(sample.width_px))),
        image_height_px: Quantiles::of(samples.iter().map(|sample| f64::from(sample.height_px))),
        boxes_per_image: Quantiles::of(samples.iter().map(|sample| to_f64(sample.boxes.len()))),
        box_width_px: Quantiles::of(boxes().map(|[w, _]| w)),
        box_height_px: Quantiles::of(boxes().map(|[_, h]| h)),
        box_aspect: Quantiles::of(boxes().map(|[w, h]| w / h)),
        notes: Notes::default(),
        broken: Vec::new(),
        orphans: Vec::new(),
    }
}

fn box_size_px(sample: &Sample, label: &LabelBox) -> [f64; 2] {
    [f64::from(label.w) * f64::from(sample.width_px), f64::from(label.h) * f64::from(sample.height_px)]
}

fn count_classes(classes: &[String], samples: &[Sample]) -> Vec<ClassCount> {
    let mut counts: Vec<ClassCount> =
        classes.iter().map(|name| ClassCount { name: name.clone(), boxes: 0, images: 0 }).collect();
    for sample in samples {
        let mut on_image = BTreeMap::new();
        for label in &sample.boxes {
            *on_image.entry(label.class).or_insert(0) += 1;
        }
        for (class, boxes) in on_image {
            counts[class].boxes += boxes;
            counts[class].images += 1;
        }
    }
    counts
}

fn count_sizes(areas_px2: impl Iterator<Item = f64>) -> SizeCount {
    let mut sizes = SizeCount::default();
    for area in areas_px2 {
        match area {
            a if a < SMALL_BELOW_PX2 => sizes.small += 1,
            a if a < MEDIUM_BELOW_PX2 => sizes.medium += 1,
            _ => sizes.large += 1,
        }
    }
    sizes
}

fn to_f64(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let count = count as f64;
    count
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {}, {} ({} without a label)",
            self.split,
            counted(self.boxes, "label"),
            counted(self.images, "image"),
            self.images_without_labels
        )?;
        let width = self.classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max(16);
        writeln!(f, "  {:width$} {:>9}{:>9}", "class", "labels", "images")?;
        for class in self.classes.iter().filter(|class| class.boxes > 0) {
            writeln!(f, "  {:width$} {:>9}{:>9}", class.name, class.boxes, class.images)?;
        }
        let unused: Vec<&str> =
            self.classes.iter().filter(|class| class.boxes == 0).map(|class| class.name.as_str()).collect();
        if !unused.is_empty() {
            writeln!(f, "  without a label: {}", unused.join(", "))?;
        }
        let SizeCount { small, medium, large } = self.sizes;
        writeln!(f, "  sizes: {small} small (below 32² px), {medium} medium, {large} large (from 96² px)")?;
        writeln!(f, "  {:width$} {:>9}{:>9}{:>9}{:>9}{:>9}", "", "min", "5 %", "median", "95 %", "max")?;
        for (name, quantiles) in [
            ("image width px", &self.image_width_px),
            ("image height px", &self.image_height_px),
            ("labels an image", &self.boxes_per_image),
            ("box width px", &self.box_width_px),
            ("box height px", &self.box_height_px),
            ("box width/height", &self.box_aspect),
        ] {
            if let Some(quantiles) = quantiles {
                writeln!(f, "  {name:width$} {quantiles}")?;
            }
        }
        write!(f, "  {}, {} broken", self.notes, self.broken.len())?;
        for fault in &self.broken {
            write!(f, "\n  broken: {fault}")?;
        }
        for label in &self.orphans {
            write!(f, "\n  label file without an image: {}", label.display())?;
        }
        Ok(())
    }
}

impl Inspection {
    /// Fails when anything is broken and `policy` is [`Broken::Refuse`].
    ///
    /// # Errors
    /// [`crate::Error::Data`] that names the broken files.
    pub fn judge(&self, policy: Broken) -> Result<()> {
        match policy {
            Broken::Refuse => super::broken::settle(&self.split, &self.broken, policy),
            Broken::Skip => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(boxes: &[(usize, f32, f32)]) -> Sample {
        let label = |&(class, w, h)| LabelBox { class, cx: 0.5, cy: 0.5, w, h };
        Sample {
            image: "a.jpg".into(),
            width_px: 200,
            height_px: 100,
            boxes: boxes.iter().map(label).collect(),
        }
    }

    #[test]
    fn counts_and_sizes_are_in_pixels_of_the_image() {
        let samples = [sample(&[(0, 0.1, 0.2), (0, 0.5, 0.5), (2, 1.0, 1.0)]), sample(&[])];
        let classes = ["a", "b", "c"].map(String::from);
        let found = measure(Split::Val, &classes, &samples);
        assert_eq!((found.images, found.images_without_labels, found.boxes), (2, 1, 3));
        assert_eq!(found.sizes, SizeCount { small: 1, medium: 1, large: 1 });
        assert_eq!(found.classes[0], ClassCount { name: "a".into(), boxes: 2, images: 1 });
        assert_eq!(found.box_aspect.map(|q| q.max), Some(2.0));
        let text = found.to_string();
        assert!(text.contains("without a label: b"), "{text}");
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let q = Quantiles::of((0..=100).map(f64::from)).unwrap();
        assert_eq!((q.min, q.p5, q.median, q.p95, q.max), (0.0, 5.0, 50.0, 95.0, 100.0));
        assert_eq!(Quantiles::of(std::iter::empty()), None);
    }
}
