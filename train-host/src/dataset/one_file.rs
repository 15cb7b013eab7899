//! panlabel, one file at a time. Its YOLO and VOC readers take whole folders and stop at the first broken file, so each
//! label file is put alone into a scratch folder: a fault then belongs to that file. Judges no content.

use std::fs;
use std::path::{Path, PathBuf};

use panlabel::PanlabelError;
use panlabel::ir::{self, io_voc_xml, io_yolo};
use tempfile::TempDir;

/// A scratch folder laid out so that panlabel finds exactly one label file.
#[derive(Debug)]
pub(super) struct OneFile {
    // Held for its drop, which removes the folder.
    dir: TempDir,
    label: PathBuf,
}

/// What panlabel said against a file, with its line where panlabel names one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub line: Option<usize>,
    pub reason: String,
}

impl OneFile {
    /// A folder for YOLO label files with class ids below `classes`. Its only image is a stand-in of 1 × 1 pixel, so
    /// that the pixels panlabel computes are the fractions in the file.
    ///
    /// # Errors
    /// When the system's folder for temporary files cannot be written.
    pub fn yolo(classes: usize) -> std::io::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("images"))?;
        fs::create_dir(dir.path().join("labels"))?;
        let ids: String = (0..classes).map(|id| format!("{id}\n")).collect();
        fs::write(dir.path().join("classes.txt"), ids)?;
        image::RgbImage::new(1, 1).save(dir.path().join("images/one.png")).map_err(std::io::Error::other)?;
        Ok(Self { label: dir.path().join("labels/one.txt"), dir })
    }

    /// A folder for VOC annotation files.
    ///
    /// # Errors
    /// When the system's folder for temporary files cannot be written.
    pub fn voc() -> std::io::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("Annotations"))?;
        Ok(Self { label: dir.path().join("Annotations/one.xml"), dir })
    }

    /// The content of a YOLO label file as boxes in fractions (panlabel's pixels of the 1 × 1 stand-in).
    /// Category ids are class ids plus 1.
    ///
    /// # Errors
    /// The first row panlabel cannot read.
    pub fn read_yolo(&self, content: &[u8]) -> Result<ir::Dataset, Complaint> {
        self.put(content)?;
        io_yolo::read_yolo_dir(self.dir.path()).map_err(complaint)
    }

    /// The content of a VOC annotation file: one image, its objects in file order, corners in pixels as written.
    ///
    /// # Errors
    /// What panlabel cannot read.
    pub fn read_voc(&self, content: &[u8]) -> Result<ir::Dataset, Complaint> {
        self.put(content)?;
        io_voc_xml::read_voc_dir(self.dir.path()).map_err(complaint)
    }

    fn put(&self, content: &[u8]) -> Result<(), Complaint> {
        fs::write(&self.label, content)
            .map_err(|e| Complaint { line: None, reason: format!("no room for a scratch file: {e}") })
    }
}

/// panlabel's error without the scratch folder's name.
fn complaint(error: PanlabelError) -> Complaint {
    match error {
        PanlabelError::YoloLabelParse { line, message, .. } => {
            Complaint { line: Some(line), reason: message }
        }
        PanlabelError::VocXmlParse { message, .. } => Complaint { line: None, reason: message },
        other => Complaint { line: None, reason: other.to_string() },
    }
}

/// `path` read whole, or why not.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("cannot read the label file: {e}"))
}
