//! A dataset as it lies on disk, in whichever format: a YOLO data.yaml, COCO json files, or a Pascal VOC folder.
//! Finds splits and classes, and applies the policy for broken files. Decodes pixels only where that is asked for.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::broken::settle;
use super::coco::CocoFile;
use super::one_file::OneFile;
use super::verify::verify;
use super::voc::VocFolder;
use super::yaml::DataYaml;
use super::{Broken, BrokenFile, Dataset, Notes, Reading, Split, files, first_repeated, progress, yolo};
use crate::console::{counted, say};
use crate::{Error, Result};

/// Images handed to one scratch folder of panlabel.
const FILES_A_FOLDER: usize = 64;

/// A dataset on disk.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    policy: Broken,
    classes: Vec<String>,
    /// Relative rows of image lists may start here.
    root: PathBuf,
    splits: BTreeMap<Split, Vec<Place>>,
    divided: bool,
}

/// Where a part of a split lies.
#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    List(PathBuf),
    Coco(Arc<CocoFile>),
    Voc { folder: Arc<VocFolder>, set: Option<PathBuf> },
}

/// A split as read, before any policy: what is sound and what is not.
#[derive(Debug, Default)]
pub struct Scan {
    /// The sound samples; `skipped` counts the faults.
    pub dataset: Dataset,
    /// What is broken, in the order it was met.
    pub faults: Vec<BrokenFile>,
    /// YOLO label files in the split's label folder that belong to no image.
    pub orphans: Vec<PathBuf>,
}

impl Source {
    /// Opens the dataset at `path`: a YOLO `data.yaml` (or a folder with one), a COCO `.json`, a folder with
    /// `{train,valid,test}/_annotations.coco.json`, or a Pascal VOC folder.
    ///
    /// # Errors
    /// [`Error::Data`] when it is none of these or describes itself wrongly; [`Error::Artifact`] when it cannot be read.
    pub fn open(path: &Path, policy: Broken) -> Result<Self> {
        let source = Self::find(path, policy)?;
        match first_repeated(source.classes.iter()) {
            None => Ok(source),
            // A data.yaml's own names were checked as it was read.
            Some(name) => Err(Error::data(
                format!("{} has two categories called {name:?}", path.display()),
                "a name of its own for each class",
                "rename one under `categories`; or, where both mean the same, list each name once under `names` of a \
                 data.yaml that has the COCO file under `train`",
            )),
        }
    }

    fn find(path: &Path, policy: Broken) -> Result<Self> {
        if files::has_extension(path, &["yaml", "yml"]) {
            Self::from_yaml(path, policy)
        } else if files::has_extension(path, &["json"]) {
            let place = Place::Coco(Arc::new(CocoFile::open(path)?));
            Self::undivided(path, policy, place)
        } else if VocFolder::is_at(path) {
            Self::from_voc(path, policy)
        } else if path.join("data.yaml").is_file() {
            Self::from_yaml(&path.join("data.yaml"), policy)
        } else {
            Self::from_coco_folders(path, policy)
        }
    }

    /// Class names; boxes refer to them by index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether there is anything to read for `split`.
    pub fn has(&self, split: Split) -> bool {
        self.splits.contains_key(&split)
    }

    /// Whether the dataset tells its splits apart. A lone COCO json or a VOC folder without image sets does not: every
    /// split is then the whole, and scores on it say nothing about unseen images.
    pub fn is_divided(&self) -> bool {
        self.divided
    }

    /// Reads a split under the policy given at [`Source::open`]. Faults left out are named on stderr and counted, and so
    /// are labels that were dropped or cut.
    ///
    /// # Errors
    /// [`Error::Data`] when the split is missing, empty, without any label, or (under [`Broken::Refuse`]) broken.
    pub fn split(&self, split: Split) -> Result<Dataset> {
        let Scan { dataset, faults, orphans } = self.scan(split)?;
        let what = format!("{} ({split})", self.path.display());
        settle(&what, &faults, self.policy)?;
        if dataset.notes != Notes::default() {
            say(format_args!("note: {what}: {}", dataset.notes));
        }
        if let Some(first) = orphans.first() {
            say(format_args!(
                "note: {what}: {} without an image, as {}",
                counted(orphans.len(), "label file"),
                first.display()
            ));
        }
        let boxes: usize = dataset.samples.iter().map(|sample| sample.boxes.len()).sum();
        if boxes == 0 {
            return Err(Error::data(
                format!("{what} has {} but no label", counted(dataset.samples.len(), "image")),
                "at least one image with at least one label",
                "for YOLO, labels lie at the image's path with the last `images` folder renamed `labels`, as .txt",
            ));
        }
        Ok(dataset)
    }

    /// As [`Source::split`], and decodes every image once, so that damage behind a sound header is found before hours
    /// of training and not in them.
    ///
    /// # Errors
    /// As [`Source::split`], with images that do not decode counted among the broken.
    pub fn decoded_split(&self, split: Split) -> Result<Dataset> {
        let mut dataset = self.split(split)?;
        let faults = verify(&dataset.samples);
        settle(&format!("{} ({split})", self.path.display()), &faults, self.policy)?;
        let damaged: HashSet<&PathBuf> = faults.iter().map(|fault| &fault.path).collect();
        dataset.samples.retain(|sample| !damaged.contains(&sample.image));
        dataset.skipped += damaged.len();
        if dataset.samples.is_empty() {
            return Err(Error::data(
                format!("{} ({split}): no image decodes", self.path.display()),
                "at least one whole image",
                "copy the images again from where they came from",
            ));
        }
        Ok(dataset)
    }

    /// Reads a split and reports what is broken instead of judging it.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no such split, [`Error::Artifact`] when a folder or list cannot be read.
    pub fn scan(&self, split: Split) -> Result<Scan> {
        let places = self.splits.get(&split).ok_or_else(|| {
            let present: Vec<&str> = self.splits.keys().map(|split| split.name()).collect();
            Error::data(
                format!("{} has no {split} split, only {}", self.path.display(), present.join(", ")),
                format!("a {split} split"),
                "name one in the data.yaml (or ImageSets/Main), or choose another split",
            )
        })?;
        let mut scan = Scan::default();
        for place in places {
            for reading in self.read(place, &mut scan.orphans)? {
                match reading {
                    Ok((sample, notes)) => {
                        scan.dataset.samples.push(sample);
                        scan.dataset.notes.add(notes);
                    }
                    Err(fault) => scan.faults.push(fault),
                }
            }
        }
        scan.dataset.classes.clone_from(&self.classes);
        scan.dataset.skipped = scan.faults.len();
        Ok(scan)
    }

    fn read(&self, place: &Place, orphans: &mut Vec<PathBuf>) -> Result<Vec<Reading>> {
        match place {
            Place::Folder(folder) => {
                let mut listing = files::list_folder(folder)?;
                orphans.append(&mut listing.orphans);
                self.read_images(listing)
            }
            Place::List(list) => self.read_images(files::list_file(list, &self.root)?),
            Place::Coco(file) => Ok(file.read(&self.classes)),
            Place::Voc { folder, set } => folder.read(set.as_deref(), &self.classes),
        }
    }

    fn read_images(&self, listing: files::Listing) -> Result<Vec<Reading>> {
        let bar = progress::bar(listing.images.len(), "reading labels");
        let readings = listing
            .images
            .par_chunks(FILES_A_FOLDER)
            .map(|chunk| {
                let one =
                    OneFile::yolo(self.classes.len()).map_err(|e| Error::io(std::env::temp_dir(), e))?;
                let readings: Vec<Reading> = chunk.iter().map(|image| yolo::read(image, &one)).collect();
                bar.inc(chunk.len() as u64);
                Ok(readings)
            })
            .collect::<Result<Vec<_>>>()?;
        bar.finish_and_clear();
        Ok(readings.into_iter().flatten().chain(listing.faults.into_iter().map(Err)).collect())
    }

    fn from_yaml(path: &Path, policy: Broken) -> Result<Self> {
        let yaml = DataYaml::open(path)?;
        let mut splits = BTreeMap::new();
        let mut opened = BTreeMap::new();
        for (split, places) in &yaml.splits {
            let places: Vec<Place> =
                places.iter().map(|place| Place::open(place, *split, &mut opened)).collect::<Result<_>>()?;
            splits.insert(*split, places);
        }
        let named_elsewhere = || splits.values().flatten().find_map(Place::classes);
        let classes = yaml.classes.or_else(named_elsewhere).ok_or_else(|| {
            Error::data(
                format!("{} has neither `names` nor `nc`", path.display()),
                "class names under `names`",
                "add `names: [first class, second class]` in the order of the label files' class ids",
            )
        })?;
        Ok(Self { path: path.to_path_buf(), policy, classes, root: yaml.root, splits, divided: true })
    }

    fn from_voc(path: &Path, policy: Broken) -> Result<Self> {
        let folder = Arc::new(VocFolder::open(path)?);
        let sets: BTreeMap<Split, Vec<Place>> = Split::ALL
            .into_iter()
            .filter_map(|split| Some((split, folder.set(split)?)))
            .map(|(split, set)| (split, vec![Place::Voc { folder: folder.clone(), set: Some(set) }]))
            .collect();
        if sets.is_empty() {
            return Self::undivided(path, policy, Place::Voc { folder, set: None });
        }
        let root = path.to_path_buf();
        Ok(Self { path: root.clone(), policy, classes: folder.classes(), root, splits: sets, divided: true })
    }

    /// Whether `folder` looks like a dataset, be it one that cannot be read, and not just like a folder.
    pub fn is_at(folder: &Path) -> bool {
        VocFolder::is_at(folder)
            || folder.join("data.yaml").is_file()
            || coco_files(folder).any(|(_, json)| json.is_file())
    }

    fn from_coco_folders(path: &Path, policy: Broken) -> Result<Self> {
        let mut splits = BTreeMap::new();
        for (split, json) in coco_files(path).filter(|(_, json)| json.is_file()) {
            splits.insert(split, vec![Place::Coco(Arc::new(CocoFile::open(&json)?))]);
        }
        let Some(classes) = splits.values().flatten().find_map(Place::classes) else {
            return Err(Error::data(
                format!("{} is no dataset", path.display()),
                "a YOLO data.yaml, a COCO .json, or a Pascal VOC folder with Annotations and JPEGImages",
                "give the path of the data.yaml itself; `train-host data synth` makes a dataset to try",
            ));
        };
        let root = path.to_path_buf();
        Ok(Self { path: root.clone(), policy, classes, root, splits, divided: true })
    }

    fn undivided(path: &Path, policy: Broken, place: Place) -> Result<Self> {
        let classes = place.classes().unwrap_or_default();
        let splits = Split::ALL.into_iter().map(|split| (split, vec![place.clone()])).collect();
        let root = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        Ok(Self { path: path.to_path_buf(), policy, classes, root, splits, divided: false })
    }
}

/// Where the COCO files of a folder with one for each split would be.
fn coco_files(folder: &Path) -> impl Iterator<Item = (Split, PathBuf)> {
    [(Split::Train, "train"), (Split::Val, "val"), (Split::Val, "valid"), (Split::Test, "test")]
        .into_iter()
        .map(move |(split, name)| (split, folder.join(name).join("_annotations.coco.json")))
}

impl Place {
    /// What lies at `path`; files and folders shared by splits are parsed once, through `opened`.
    fn open(path: &Path, split: Split, opened: &mut BTreeMap<PathBuf, Self>) -> Result<Self> {
        if files::has_extension(path, &["txt"]) {
            return Ok(Self::List(path.to_path_buf()));
        }
        let shared = opened.get(path).cloned();
        let place = match shared {
            Some(place) => place,
            None if files::has_extension(path, &["json"]) => Self::Coco(Arc::new(CocoFile::open(path)?)),
            None if VocFolder::is_at(path) => {
                Self::Voc { folder: Arc::new(VocFolder::open(path)?), set: None }
            }
            None if path.is_dir() => Self::Folder(path.to_path_buf()),
            None => {
                return Err(Error::data(
                    format!("{} is neither a folder nor a list", path.display()),
                    "a folder of images, a .txt list of images, a COCO .json or a VOC folder",
                    format!("correct `{split}` in the data.yaml"),
                ));
            }
        };
        opened.insert(path.to_path_buf(), place.clone());
        Ok(match place {
            Self::Voc { folder, .. } => Self::Voc { set: folder.set(split), folder },
            other => other,
        })
    }

    /// The classes a place knows by itself.
    fn classes(&self) -> Option<Vec<String>> {
        match self {
            Self::Folder(_) | Self::List(_) => None,
            Self::Coco(file) => Some(file.classes()),
            Self::Voc { folder, .. } => Some(folder.classes()),
        }
    }
}

#[cfg(test)]
mod tests;
