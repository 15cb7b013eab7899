//! Real photographs and microscope images: all are read, none passes when it is cut off.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use repedge::frame::read_image;

/// Every JPEG of BCCD and coco128.
fn jpegs() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("REPEDGE_SHARED_DATA").map_or(beside, PathBuf::from);
    let mut folders = vec![root.join("bccd"), root.join("coco128")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jpg") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
#[ignore = "needs ../shared/data (BCCD, coco128)"]
fn all_are_read() {
    let files = jpegs();
    assert_eq!(files.len(), 364 + 128);
    for path in files {
        let image = read_image(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(image.rgb.len(), image.width_px * image.height_px * 3);
    }
}

#[test]
#[ignore = "needs ../shared/data (BCCD, coco128)"]
fn none_is_read_when_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.jpg");
    for path in jpegs().iter().step_by(17) {
        let bytes = fs::read(path).unwrap();
        for len in [bytes.len() - 1, bytes.len() - 2, bytes.len() - 50, bytes.len() / 2, 1000, 3] {
            fs::write(&cut, &bytes[..len]).unwrap();
            let error = read_image(&cut).expect_err("a cut-off image was read").to_string();
            assert!(error.contains("cut.jpg"), "{error}");
        }
    }
}
