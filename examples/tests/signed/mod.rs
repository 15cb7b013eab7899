//! Signed bundles of the tiny detector, and a device that trusts their key.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use artifact::{BackendKind, Bundle, CheckImage, ExpectedBox, Manifest};
use prost::Message;
use repedge::{Image, frame};
use signing::{KeyFiles, PrivateKey, Protection};

use super::common;

/// A check image and its file.
pub type Check = (CheckImage, Vec<u8>);

/// A folder with `squares.bundle` and the public key that it is signed with, in `keys`.
pub struct Scene {
    dir: tempfile::TempDir,
    key: PrivateKey,
}

impl Scene {
    pub fn new(checks: &[Check]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(&dir.path().join("keys"), "test");
        files.generate(Protection::None).unwrap();
        let scene = Self { key: PrivateKey::read(&files.private, "test").unwrap(), dir };
        scene.sign("squares.bundle", checks, 0);
        scene
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a bundle with these check images and this security version.
    pub fn sign(&self, name: &str, checks: &[Check], security_version: u32) {
        let check_images = checks.iter().map(|(described, _)| described.clone()).collect();
        let manifest = Manifest { security_version, check_images, ..manifest() };
        let onnx = common::onnx().encode_to_vec();
        let pictures = checks.iter().map(|(_, bytes)| bytes.as_slice());
        let parts: Vec<&[u8]> = [onnx.as_slice()].into_iter().chain(pictures).collect();
        Bundle::write_signed(&self.path(name), &manifest, &parts, &self.key).unwrap();
    }

    /// Writes a bundle whose payload says that it is for `target`.
    pub fn sign_for(&self, name: &str, target: &str) {
        let mut manifest = manifest();
        manifest.payloads[0].target = target.into();
        let onnx = common::onnx().encode_to_vec();
        Bundle::write_signed(&self.path(name), &manifest, &[&onnx], &self.key).unwrap();
    }
}

fn manifest() -> Manifest {
    let onnx = common::onnx().encode_to_vec();
    common::manifest(vec![common::payload("host", BackendKind::Tract, &onnx)])
}

/// A red square, and what is to be found of it.
pub fn right() -> Vec<Check> {
    vec![check("square.png", 0, 0)]
}

/// The same, and one in the opposite corner.
pub fn two() -> Vec<Check> {
    vec![check("square.png", 0, 0), check("corner.png", 0, 32)]
}

/// A red square that is said to be a blue one.
pub fn wrong() -> Vec<Check> {
    vec![check("square.png", 1, 0)]
}

/// A red square so many pixels from the left and the top, which is said to be of `class`.
fn check(name: &str, class: usize, from_px: u8) -> Check {
    let mut image = Image::filled(64, 64, [0; 3]);
    let from = usize::from(from_px);
    for y in from..from + 32 {
        let start = (y * 64 + from) * 3;
        image.rgb[start..start + 32 * 3].copy_from_slice(&[255, 0, 0].repeat(32));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    frame::write_png(&path, &image).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let (left, right) = (f32::from(from_px), f32::from(from_px) + 32.0);
    let expected = vec![ExpectedBox { class, score: 0.99, box_px: [left, left, right, right] }];
    (CheckImage::new(name, expected, &bytes), bytes)
}
