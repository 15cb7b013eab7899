//! COCO json files: parsed by panlabel, images found beside the file. Categories in the order of their ids. Crowd
//! regions are left out: they are no single object.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use panlabel::ir::{self, io_coco_json};
use rayon::prelude::*;

use super::boxes::{Boxes, Corners, inside};
use super::{BrokenFile, Reading, Sample, first_repeated, header, progress};
use crate::Error;

/// A COCO json file, parsed.
#[derive(Debug)]
pub(super) struct CocoFile {
    path: PathBuf,
    labels: ir::Dataset,
    /// Image id → indices of its annotations.
    by_image: BTreeMap<ir::ImageId, Vec<usize>>,
}

impl CocoFile {
    /// Parses the file at `path`.
    ///
    /// # Errors
    /// [`Error::Artifact`] when it cannot be read, [`Error::Data`] with line and column when it is no COCO json or
    /// uses an image id or category id twice.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
        let labels = io_coco_json::from_coco_slice(&bytes).map_err(|e| {
            Error::data(
                format!("{}:{}: {e}", path.display(), e.line()),
                "a COCO json file with images, annotations and categories",
                "export the labels again as COCO object detection json",
            )
        })?;
        if let Some(id) = first_repeated(labels.images.iter().map(|image| image.id.as_u64())) {
            return Err(twice(path, "image", id));
        }
        if let Some(id) = first_repeated(labels.categories.iter().map(|category| category.id.as_u64())) {
            return Err(twice(path, "category", id));
        }
        let mut by_image: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, annotation) in labels.annotations.iter().enumerate() {
            by_image.entry(annotation.image_id).or_default().push(index);
        }
        Ok(Self { path: path.to_path_buf(), labels, by_image })
    }

    /// Category names in the order of their ids.
    pub fn classes(&self) -> Vec<String> {
        let sorted: BTreeMap<_, &String> = self.labels.categories.iter().map(|c| (c.id, &c.name)).collect();
        sorted.into_values().cloned().collect()
    }

    /// Every image of the file with its labels, and annotations of images the file does not list.
    pub fn read(&self, classes: &[String]) -> Vec<Reading> {
        let folders = image_folders(&self.path);
        let of_category = self.class_of_category(classes);
        let bar = progress::bar(self.labels.images.len(), "reading images");
        let samples = self.labels.images.par_iter().enumerate();
        let mut readings: Vec<Reading> = samples
            .map(|(index, image)| self.sample(index, image, &folders, &of_category))
            .inspect(|_| bar.inc(1))
            .collect();
        bar.finish_and_clear();
        let known: BTreeSet<_> = self.labels.images.iter().map(|image| image.id).collect();
        for (id, annotations) in self.by_image.iter().filter(|(id, _)| !known.contains(id)) {
            let reason = format!("annotation of image {id}, which the file does not list");
            readings.push(Err(self.at("annotations", annotations[0], reason)));
        }
        readings
    }

    /// Index into `classes` of each category, by name; categories of the same name keep their order.
    fn class_of_category(&self, classes: &[String]) -> BTreeMap<ir::CategoryId, usize> {
        if self.classes() == classes {
            let ids: BTreeSet<_> = self.labels.categories.iter().map(|c| c.id).collect();
            return ids.into_iter().zip(0..).collect();
        }
        let place = |category: &ir::Category| classes.iter().position(|class| *class == category.name);
        self.labels.categories.iter().filter_map(|category| Some((category.id, place(category)?))).collect()
    }

    fn sample(
        &self,
        index: usize,
        image: &ir::Image,
        folders: &[PathBuf],
        of_category: &BTreeMap<ir::CategoryId, usize>,
    ) -> Reading {
        let found = folders.iter().map(|folder| folder.join(&image.file_name)).find(|path| path.is_file());
        let path = found.ok_or_else(|| {
            let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            self.at("images", index, format!("no image {} in {}", image.file_name, places.join(", ")))
        })?;
        let (width_px, height_px) = header::image_size(&path)?;
        if (image.width, image.height) != (width_px, height_px) {
            let said = format!("size {} × {}", image.width, image.height);
            let reason = format!("{said} where the image has {width_px} × {height_px} pixels");
            return Err(self.at("images", index, reason));
        }
        let size = [f64::from(width_px), f64::from(height_px)];
        let mut boxes = Boxes::default();
        for &number in self.by_image.get(&image.id).into_iter().flatten() {
            self.label(number, of_category, size, &mut boxes)
                .map_err(|reason| self.at("annotations", number, reason))?;
        }
        Ok((Sample { image: path, width_px, height_px, boxes: boxes.kept }, boxes.notes))
    }

    fn label(
        &self,
        number: usize,
        of_category: &BTreeMap<ir::CategoryId, usize>,
        size: [f64; 2],
        boxes: &mut Boxes,
    ) -> Result<(), String> {
        let annotation = &self.labels.annotations[number];
        let class = *of_category
            .get(&annotation.category_id)
            .ok_or_else(|| format!("unknown category {}", annotation.category_id))?;
        if annotation.attributes.get("iscrowd").is_some_and(|value| value != "0") {
            boxes.notes.ignored += 1;
            return Ok(());
        }
        let b = &annotation.bbox;
        let corners = Corners { x0: b.xmin(), y0: b.ymin(), x1: b.xmax(), y1: b.ymax() };
        inside(corners, size)?;
        boxes.push(class, corners, size, [1.0; 2])
    }

    /// A fault at element `index` of the file's array `key`. Reads the file again: faults are rare, its text is large.
    fn at(&self, key: &str, index: usize, reason: String) -> BrokenFile {
        let line = fs::read(&self.path).ok().and_then(|bytes| line_of_element(&bytes, key, index));
        BrokenFile { path: self.path.clone(), line, reason }
    }
}

fn twice(path: &Path, what: &str, id: u64) -> Error {
    Error::data(
        format!("{}: {what} id {id} is used twice", path.display()),
        "ids that are unique in the file",
        "export the labels again; files merged by hand need new ids",
    )
}

/// Where the images of a json file may lie: beside it, in `images`, and for `annotations/instances_NAME.json` in
/// `NAME` or `images/NAME` one folder up.
fn image_folders(json: &Path) -> Vec<PathBuf> {
    let folder = json.parent().unwrap_or(Path::new("."));
    let up = folder.join("..");
    let mut folders = vec![folder.to_path_buf(), folder.join("images"), up.join("images"), up.clone()];
    let stem = json.file_stem().unwrap_or_default().to_string_lossy();
    if let Some((_, name)) = stem.rsplit_once('_') {
        folders.extend([up.join(name), up.join("images").join(name), folder.join(name)]);
    }
    folders.retain(|candidate| candidate.is_dir() || candidate.as_os_str().is_empty());
    folders
}

/// The line (from 1) where element `index` of the array under the top-level `key` begins, in valid json.
fn line_of_element(json: &[u8], key: &str, index: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut line = 1;
    let mut last_key: &[u8] = b"";
    let mut inside = false;
    let mut seen = 0;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'\n' => line += 1,
            b'"' => {
                let end = end_of_string(json, at)?;
                if depth == 1 {
                    last_key = &json[at + 1..end];
                }
                at = end;
            }
            open @ (b'{' | b'[') => {
                depth += 1;
                inside |= depth == 2 && open == b'[' && last_key == key.as_bytes();
                if inside && depth == 3 {
                    if seen == index {
                        return Some(line);
                    }
                    seen += 1;
                }
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                inside &= depth >= 2;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Position of the quote that closes the string opened at `start`.
fn end_of_string(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while *json.get(at)? != b'"' {
        at += if json[at] == b'\\' { 2 } else { 1 };
    }
    Some(at)
}

#[cfg(test)]
mod tests;
