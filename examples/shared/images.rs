//! The image files of a folder. Never reads an image.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use repedge::frame::IMAGE_EXTENSIONS;

/// The images directly in `folder`, by name.
///
/// # Errors
/// When it cannot be listed or holds none.
pub fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| artifact::Error::io(folder, error);
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut images = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() && has_image_extension(&path) {
            images.push(path);
        }
    }
    if images.is_empty() {
        bail!(
            "{}: no image in this folder\n  expected: files ending in {}\n  help: name the images, or another folder",
            folder.display(),
            IMAGE_EXTENSIONS.join(", ")
        );
    }
    images.sort();
    Ok(images)
}

fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    IMAGE_EXTENSIONS.contains(&extension.as_str())
}
