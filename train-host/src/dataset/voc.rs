//! Pascal VOC folders: `Annotations/*.xml`, `JPEGImages`, `ImageSets/Main/SPLIT.txt`. Corners are taken as written, as
//! the usual conversions to YOLO do (width = xmax − xmin), not as VOC's inclusive pixel numbers: for a box of 100
//! pixels that is 1 %, and the numbers then equal what Python training sees. Objects marked `difficult` are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use panlabel::ir;
use rayon::prelude::*;
use repedge::frame::IMAGE_EXTENSIONS;

use super::boxes::{Boxes, Corners, inside};
use super::one_file::{OneFile, read_bytes};
use super::{BrokenFile, Reading, Sample, Split, files, header, progress};
use crate::Error;

/// Label files handed to one scratch folder; making a folder costs as much as reading a few files.
const FILES_A_FOLDER: usize = 32;

/// A VOC folder with all its annotations parsed.
#[derive(Debug)]
pub(super) struct VocFolder {
    root: PathBuf,
    /// By the name of the file without its extension, which is also the image's.
    annotations: BTreeMap<String, Result<Annotation, BrokenFile>>,
}

#[derive(Debug)]
struct Annotation {
    path: PathBuf,
    labels: ir::Dataset,
    text: String,
}

impl VocFolder {
    /// Whether `folder` looks like a VOC dataset.
    pub fn is_at(folder: &Path) -> bool {
        folder.join("Annotations").is_dir()
    }

    /// Parses every annotation below `root`.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the folder cannot be listed or no scratch folder can be made, [`Error::Data`] when two
    /// annotations have one name. Broken annotations are no error here: their split names them.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let paths = files::walk(&root.join("Annotations"), &["xml"])?;
        check_names(&paths)?;
        let bar = progress::bar(paths.len(), "reading labels");
        let annotations = paths
            .par_chunks(FILES_A_FOLDER)
            .map(|chunk| {
                let one = OneFile::voc().map_err(|e| Error::io(std::env::temp_dir(), e))?;
                let parsed = chunk.iter().map(|path| (stem(path), parse(path, &one))).collect::<Vec<_>>();
                bar.inc(chunk.len() as u64);
                Ok(parsed)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        bar.finish_and_clear();
        Ok(Self { root: root.to_path_buf(), annotations: annotations.into_iter().flatten().collect() })
    }

    /// The class names of all annotations, sorted, so that every split has the same.
    pub fn classes(&self) -> Vec<String> {
        let sound = self.annotations.values().flatten();
        let names: BTreeSet<&String> = sound.flat_map(|a| &a.labels.categories).map(|c| &c.name).collect();
        names.into_iter().cloned().collect()
    }

    /// The file that lists the images of `split`, where there is one.
    pub fn set(&self, split: Split) -> Option<PathBuf> {
        let set = self.root.join(format!("ImageSets/Main/{split}.txt"));
        set.is_file().then_some(set)
    }

    /// The samples a set file lists, or all.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the set file cannot be read.
    pub fn read(&self, set: Option<&Path>, classes: &[String]) -> Result<Vec<Reading>, Error> {
        let Some(set) = set else {
            let ids: Vec<&String> = self.annotations.keys().collect();
            return Ok(measuring(ids, |id| self.sample(id, classes)));
        };
        let text = fs::read_to_string(set).map_err(|e| Error::io(set, e))?;
        let rows: Vec<(usize, &str)> =
            text.lines().map(str::trim).enumerate().filter(|(_, row)| !row.is_empty()).collect();
        let sample = |(index, id): (usize, &str)| {
            let missing = || BrokenFile::at(set, index + 1, format!("no annotation Annotations/{id}.xml"));
            self.annotations.get(id).ok_or_else(missing).and_then(|_| self.sample(id, classes))
        };
        Ok(measuring(rows, sample))
    }

    fn sample(&self, id: &str, classes: &[String]) -> Reading {
        let annotation = match self.annotations.get(id) {
            Some(Ok(annotation)) => annotation,
            Some(Err(broken)) => return Err(broken.clone()),
            None => {
                let path = self.root.join(format!("Annotations/{id}.xml"));
                return Err(BrokenFile::whole(path, "no such annotation"));
            }
        };
        let [described] = annotation.labels.images.as_slice() else {
            return Err(BrokenFile::whole(&annotation.path, "the annotation does not describe one image"));
        };
        let image = self
            .image(id, &described.file_name)
            .ok_or_else(|| annotation.at("filename", 0, format!("no image JPEGImages/{id}.*")))?;
        let (width_px, height_px) = header::image_size(&image)?;
        // Some tools leave the size at 0; the header knows better.
        let said = (described.width, described.height);
        if said != (0, 0) && said != (width_px, height_px) {
            let reason =
                format!("size {} × {} where the image has {width_px} × {height_px} pixels", said.0, said.1);
            return Err(annotation.at("size", 0, reason));
        }
        let boxes = annotation
            .boxes(classes, [f64::from(width_px), f64::from(height_px)])
            .map_err(|(object, reason)| annotation.at("object", object, reason))?;
        Ok((Sample { image, width_px, height_px, boxes: boxes.kept }, boxes.notes))
    }

    /// The image named as its annotation, or else as the annotation says: tools that copy files forget `<filename>`.
    fn image(&self, id: &str, file_name: &str) -> Option<PathBuf> {
        let folder = self.root.join("JPEGImages");
        let beside = |extension: &&str| folder.join(format!("{id}.{extension}"));
        let named = IMAGE_EXTENSIONS.iter().chain(&["JPG", "JPEG", "PNG"]).map(beside);
        named.chain([folder.join(file_name)]).find(|path| path.is_file())
    }
}

impl Annotation {
    /// The labels, or the number (from 0) of the first bad object and its reason.
    fn boxes(&self, classes: &[String], size: [f64; 2]) -> Result<Boxes, (usize, String)> {
        let names: BTreeMap<_, &String> = self.labels.categories.iter().map(|c| (c.id, &c.name)).collect();
        let mut boxes = Boxes::default();
        for (number, object) in self.labels.annotations.iter().enumerate() {
            let name = names.get(&object.category_id).map_or("", |name| name.as_str());
            let class = classes
                .iter()
                .position(|class| class == name)
                .ok_or_else(|| (number, format!("unknown class {name:?}; known: {}", classes.join(", "))))?;
            if object.attributes.get("difficult").is_some_and(|value| value == "1") {
                boxes.notes.ignored += 1;
                continue;
            }
            let b = &object.bbox;
            let corners = Corners { x0: b.xmin(), y0: b.ymin(), x1: b.xmax(), y1: b.ymax() };
            inside(corners, size)
                .and_then(|()| boxes.push(class, corners, size, [1.0; 2]))
                .map_err(|reason| (number, reason))?;
        }
        Ok(boxes)
    }

    /// A fault at the `number`th (from 0) element called `tag`.
    fn at(&self, tag: &str, number: usize, reason: String) -> BrokenFile {
        let line = roxmltree::Document::parse(&self.text).ok().and_then(|document| {
            let element = document.descendants().filter(|node| node.has_tag_name(tag)).nth(number)?;
            Some(line_of(&element))
        });
        BrokenFile { path: self.path.clone(), line, reason }
    }
}

/// One annotation file through panlabel.
fn parse(path: &Path, one: &OneFile) -> Result<Annotation, BrokenFile> {
    let content = read_bytes(path).map_err(|reason| BrokenFile::whole(path, reason))?;
    let text = String::from_utf8(content).map_err(|_| BrokenFile::whole(path, "not UTF-8 text"))?;
    match one.read_voc(text.as_bytes()) {
        Ok(labels) => Ok(Annotation { path: path.to_path_buf(), labels, text }),
        Err(complaint) => Err(BrokenFile::at(path, suspect_line(&text), complaint.reason)),
    }
}

/// The line that most likely made panlabel give up: panlabel names none.
fn suspect_line(text: &str) -> usize {
    let document = match roxmltree::Document::parse(text) {
        Ok(document) => document,
        Err(error) => return error.pos().row as usize,
    };
    let root = document.root_element();
    let unreadable = |node: &roxmltree::Node| {
        let number = |tag: &str| {
            let value =
                node.descendants().find(|n| n.has_tag_name(tag)).and_then(|n| n.text()).unwrap_or_default();
            value.trim().parse::<f64>().is_err()
        };
        ["xmin", "ymin", "xmax", "ymax"].into_iter().any(number)
            || !node
                .children()
                .any(|n| n.has_tag_name("name") && n.text().is_some_and(|t| !t.trim().is_empty()))
    };
    let bad_object = root.children().filter(|node| node.has_tag_name("object")).find(unreadable);
    let size = root.children().find(|node| node.has_tag_name("size"));
    line_of(&bad_object.or(size).unwrap_or(root))
}

fn line_of(node: &roxmltree::Node) -> usize {
    node.document().text_pos_at(node.range().start).row as usize
}

/// Reads `items` with `read`, which opens the image of each, and shows how far it is.
fn measuring<T: Send>(items: Vec<T>, read: impl Fn(T) -> Reading + Sync + Send) -> Vec<Reading> {
    let bar = progress::bar(items.len(), "reading images");
    let readings = items.into_par_iter().map(read).inspect(|_| bar.inc(1)).collect();
    bar.finish_and_clear();
    readings
}

/// Images are found by the name of their annotation alone, so that no two may share one.
fn check_names(paths: &[PathBuf]) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for path in paths {
        if let Some(other) = seen.insert(stem(path), path) {
            return Err(Error::data(
                format!("two annotations of one name: {} and {}", other.display(), path.display()),
                "one annotation an image, whatever folder it lies in",
                "rename one of them and its image, or remove the copy",
            ));
        }
    }
    Ok(())
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: &str = "<size><width>100</width><height>50</height><depth>3</depth></size>";

    fn object(name: &str, corners: [&str; 4]) -> String {
        let [x0, y0, x1, y1] = corners;
        format!(
            "<object>\n<name>{name}</name><bndbox>\n<xmin>{x0}</xmin><ymin>{y0}</ymin>\
             <xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n</object>\n"
        )
    }

    /// A folder with one image `a.png` of 100 × 50 pixels and its annotation, read as a whole.
    fn read(body: &str) -> Reading {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["Annotations", "JPEGImages"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        image::RgbImage::new(100, 50).save(dir.path().join("JPEGImages/a.png")).unwrap();
        fs::write(dir.path().join("Annotations/a.xml"), body).unwrap();
        let voc = VocFolder::open(dir.path()).unwrap();
        voc.read(None, &["cell".to_owned(), "virus".to_owned()]).unwrap().remove(0)
    }

    fn annotation(inner: &str) -> String {
        format!("<annotation>\n<filename>else.jpg</filename>\n{SIZE}\n{inner}</annotation>")
    }

    #[test]
    fn corners_are_taken_as_written() {
        let (sample, notes) = read(&annotation(&object("virus", ["10", "5", "30", "25"]))).unwrap();
        let label = crate::dataset::LabelBox { class: 1, cx: 0.2, cy: 0.3, w: 0.2, h: 0.4 };
        assert_eq!(sample.boxes, [label]);
        assert_eq!((sample.width_px, sample.height_px), (100, 50));
        assert_eq!(notes, crate::dataset::Notes::default());
    }

    #[test]
    fn empty_and_difficult_objects_are_counted_out() {
        let difficult =
            object("cell", ["1", "1", "9", "9"]).replace("<name>", "<difficult>1</difficult><name>");
        let body = annotation(&(difficult + &object("cell", ["7", "7", "7", "9"])));
        let (sample, notes) = read(&body).unwrap();
        assert!(sample.boxes.is_empty());
        assert_eq!((notes.ignored, notes.zero_area), (1, 1));
    }

    #[test]
    fn faults_are_named_by_line() {
        let good = object("cell", ["1", "1", "9", "9"]);
        for (bad, line) in [
            (annotation(&(good.clone() + &object("cell", ["1", "1", "120", "9"]))), 8),
            (annotation(&(good.clone() + &object("cell", ["9", "1", "1", "9"]))), 8),
            (annotation(&(good.clone() + &object("cell", ["NaN", "1", "9", "9"]))), 8),
            (annotation(&(good.clone() + &object("cat", ["1", "1", "9", "9"]))), 8),
            (annotation(&(good.clone() + &object("cell", ["", "1", "9", "9"]))), 8),
            (annotation(&(good.clone() + &object("", ["1", "1", "9", "9"]))), 8),
            (annotation(&good).replace("<width>100", "<width>99"), 3),
            (annotation(&good).replace("<width>100", "<width>wide"), 3),
            (annotation(&good).replace("</bndbox>", ""), 7),
            ("no xml".to_owned(), 1),
        ] {
            let fault = read(&bad).expect_err(&bad);
            assert_eq!(fault.line, Some(line), "{bad}\n{fault}");
            assert!(fault.path.ends_with("Annotations/a.xml"));
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, inner in "(<object>|</object>|<bndbox>|<xmin>|[0-9.a-]|</xmin>|&|<name>a</name>){0,12}") {
            let one = OneFile::voc().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.xml");
            for content in [bytes, annotation(&inner).into_bytes()] {
                fs::write(&path, content).unwrap();
                let _ = parse(&path, &one);
            }
        }
    }
}
