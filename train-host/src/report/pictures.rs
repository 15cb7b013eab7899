//! Pictures of the report as data URIs, so that the page needs no other file. Never decodes or changes them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, Result};

/// A report with more would take long to open.
const MOST_PICTURES: usize = 12;

/// A picture inside the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// Its file name.
    pub(super) name: String,
    /// `data:image/…;base64,…`, which holds no character that HTML would have to escape.
    uri: String,
}

impl Picture {
    /// A picture from the bytes of its file; `None` when it is neither PNG nor JPEG.
    pub fn new(name: &str, file: &[u8]) -> Option<Self> {
        let kind = match file {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xff, 0xd8, 0xff, ..] => "jpeg",
            _ => return None,
        };
        Some(Self { name: name.to_owned(), uri: format!("data:image/{kind};base64,{}", base64(file)) })
    }
}

impl Picture {
    /// The picture in the file at `path`, under its file name.
    ///
    /// # Errors
    /// [`Error::Artifact`] when it cannot be read, [`Error::Input`] when it is neither PNG nor JPEG.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::new(&name, &bytes).ok_or_else(|| {
            Error::input(format!("{} is no picture", path.display()), "a PNG or JPEG file", "make it again")
        })
    }
}

/// The first dozen PNG and JPEG files of `folder`, by name.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Picture>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .map_err(|e| Error::io(folder, e))?;
    paths.retain(|path| path.is_file() && has_picture_name(path));
    paths.sort();
    read(paths.into_iter())
}

/// The first dozen of `paths` that are PNG or JPEG files.
pub(super) fn read(paths: impl Iterator<Item = PathBuf>) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        pictures.extend(Picture::new(&name, &bytes));
        if pictures.len() == MOST_PICTURES {
            break;
        }
    }
    Ok(pictures)
}

fn has_picture_name(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_ascii_lowercase());
    extension.is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|known| e == *known))
}

/// RFC 4648 base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn base64_equals_the_standard() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn only_pictures_are_taken_in_order_of_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.png"), b"\x89PNG....").unwrap();
        std::fs::write(dir.path().join("a.JPG"), [0xff, 0xd8, 0xff, 0xe0]).unwrap();
        std::fs::write(dir.path().join("c.png"), b"not a picture").unwrap();
        std::fs::write(dir.path().join("d.json"), b"{}").unwrap();
        let pictures = read_folder(dir.path()).unwrap();
        let names: Vec<&str> = pictures.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a.JPG", "b.png"]);
        assert_eq!(pictures[0].uri, "data:image/jpeg;base64,/9j/4A==");
    }
}
