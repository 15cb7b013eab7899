//! Where images and their YOLO label files lie: folders, image lists, and the swap of `images` for `labels`.
//! Looks at names only, never into images or labels.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use repedge::frame::IMAGE_EXTENSIONS;

use super::BrokenFile;
use crate::{Error, Result};

/// Whether `path` ends in one of `extensions`, in any case.
pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    extensions.iter().any(|e| e.eq_ignore_ascii_case(extension))
}

/// All files below `folder` with one of `extensions`, sorted by path. Links to files count, links to folders do not:
/// they may form a circle.
///
/// # Errors
/// [`Error::Artifact`] when a folder cannot be listed.
pub(super) fn walk(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| Error::io(&dir, e))? {
            let entry = entry.map_err(|e| Error::io(&dir, e))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
            } else if has_extension(&path, extensions) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The YOLO label file of an image: the last `images` folder of the path becomes `labels`, the extension `txt`.
/// Without an `images` folder the label lies beside the image.
pub(super) fn label_path(image: &Path) -> PathBuf {
    swap_last(image, "images", "labels").unwrap_or_else(|| image.to_path_buf()).with_extension("txt")
}

fn swap_last(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let parts: Vec<_> = path.components().collect();
    let (_, folders) = parts.split_last()?;
    let at = folders.iter().rposition(|part| part.as_os_str() == from)?;
    Some(
        parts
            .iter()
            .enumerate()
            .map(|(i, part)| if i == at { to.as_ref() } else { part.as_os_str() })
            .collect(),
    )
}

/// Images of one place and the faults found while listing them.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Image files, in order.
    pub images: Vec<PathBuf>,
    /// Rows of a list that lead nowhere.
    pub faults: Vec<BrokenFile>,
    /// Label files without an image: common in published sets (coco128 has two), and harmless.
    pub orphans: Vec<PathBuf>,
}

/// Images below `folder`, and label files that have no image there.
///
/// # Errors
/// [`Error::Artifact`] when a folder cannot be listed.
pub(super) fn list_folder(folder: &Path) -> Result<Listing> {
    let images = walk(folder, &IMAGE_EXTENSIONS)?;
    let mut orphans = Vec::new();
    // Only a folder of its own holds nothing but labels; beside the images there may be any text.
    if let Some(labels) =
        swap_last(&folder.join("any"), "images", "labels").map(|path| path.with_file_name(""))
        && labels.is_dir()
    {
        let expected: BTreeSet<PathBuf> = images.iter().map(|image| label_path(image)).collect();
        orphans = walk(&labels, &["txt"])?;
        orphans
            .retain(|label| label.file_name() != Some("classes.txt".as_ref()) && !expected.contains(label));
    }
    Ok(Listing { images, faults: Vec::new(), orphans })
}

/// Images named in a text file, one a row, relative to the file or else to `root`. Blank rows and `#` rows are skipped.
///
/// # Errors
/// [`Error::Artifact`] when the list cannot be read, [`Error::Data`] when it is no text.
pub(super) fn list_file(list: &Path, root: &Path) -> Result<Listing> {
    let bytes = fs::read(list).map_err(|e| Error::io(list, e))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::data(
            format!("{} is not UTF-8 text", list.display()),
            "a text file naming one image a row",
            "check which file `train`, `val` or `test` names in the data.yaml",
        )
    })?;
    let folder = list.parent().unwrap_or(Path::new("."));
    let mut listing = Listing::default();
    for (index, row) in text.lines().enumerate() {
        let row = row.trim();
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        match [folder, root].iter().map(|base| base.join(row)).find(|path| path.is_file()) {
            Some(image) => listing.images.push(image),
            None => listing.faults.push(BrokenFile::at(list, index + 1, format!("no image {row}"))),
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_images_folder_becomes_labels() {
        let cases = [
            ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
            ("images/images/a.b.png", "images/labels/a.b.txt"),
            ("train/images/a.jpg", "train/labels/a.txt"),
            ("pictures/images.jpg", "pictures/images.txt"),
        ];
        for (image, label) in cases {
            assert_eq!(label_path(Path::new(image)), Path::new(label));
        }
    }

    #[test]
    fn a_label_without_an_image_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (images, labels) = (dir.path().join("images/train"), dir.path().join("labels/train"));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&labels).unwrap();
        fs::write(images.join("b.jpg"), "").unwrap();
        fs::write(images.join("a.JPG"), "").unwrap();
        for name in ["a.txt", "lost.txt", "classes.txt"] {
            fs::write(labels.join(name), "").unwrap();
        }
        let listing = list_folder(&images).unwrap();
        assert_eq!(listing.images, [images.join("a.JPG"), images.join("b.jpg")]);
        assert_eq!(listing.orphans, [labels.join("lost.txt")]);
        assert!(listing.faults.is_empty());
    }

    #[test]
    fn a_list_names_images_and_its_dead_rows() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("here.jpg"), "").unwrap();
        fs::write(dir.path().join("sub/there.jpg"), "").unwrap();
        let list = dir.path().join("sub/train.txt");
        fs::write(&list, "# images\n./there.jpg\r\n\nhere.jpg\ngone.jpg\n").unwrap();
        let listing = list_file(&list, dir.path()).unwrap();
        assert_eq!(listing.images.len(), 2);
        assert_eq!(listing.faults, [BrokenFile::at(&list, 5, "no image gone.jpg")]);
    }
}
