//! The fuzzer's entry point over random and over nearly right bytes, so that it is run where there is no fuzzer.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code")]

#[path = "../fuzz/entry.rs"]
mod entry;

use std::io::Cursor;

use artifact::{Bundle, Trust, rknn::RknnInfo};
use proptest::prelude::*;

/// A manifest that is right, for the payload `onnx`.
const MANIFEST: &str = include_str!("data/manifest.json");

/// What the entry point takes for this manifest and payload, unsigned.
fn described(json: &[u8], payload: &[u8]) -> Vec<u8> {
    let head = 2 * json.len() as u16;
    [&head.to_le_bytes()[..], json, payload].concat()
}

#[test]
fn the_manifest_to_begin_with_is_right() {
    let manifest: artifact::Manifest = serde_json::from_str(MANIFEST).unwrap();
    manifest.validate().unwrap();
    entry::read_bundle(&described(MANIFEST.as_bytes(), b"onnx"));
}

/// Inputs to begin with, by name: one for each thing that the entry point reads, right as far as it goes.
fn seeds() -> [(&'static str, Vec<u8>); 5] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bundle");
    Bundle::write(&path, &serde_json::from_str(MANIFEST).unwrap(), &[b"onnx"]).unwrap();
    let unsigned = described(MANIFEST.as_bytes(), b"onnx");
    let mut signed = unsigned.clone();
    signed[0] |= 1;
    let mut model = [b"RKNN\0\0\0\0\x06".as_slice(), &[0; 55]].concat();
    model.extend([&2_u64.to_le_bytes()[..], b"{}"].concat());
    [
        ("bundle", std::fs::read(path).unwrap()),
        ("described", unsigned),
        ("signed", signed),
        ("model", model),
        ("key", entry::KEY.into()),
    ]
}

/// `REPEDGE_FUZZ_SEEDS=FOLDER` keeps them there for the fuzzer, as fuzz/README.md says.
#[test]
fn seeds_reach_far_into_the_reader() {
    let seeds = seeds();
    Bundle::from_source(Cursor::new(&seeds[0].1), &Trust::anyone()).unwrap();
    let error = RknnInfo::read(Cursor::new(&seeds[3].1)).unwrap_err().to_string();
    assert!(error.contains("a trailer that cannot be read"), "{error}");
    seeds.iter().for_each(|(_, bytes)| entry::read_bundle(bytes));
    let Some(folder) = std::env::var_os("REPEDGE_FUZZ_SEEDS") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        entry::read_bundle(&bytes);
    }

    #[test]
    fn manifests_with_a_stretch_overwritten(
        at in any::<proptest::sample::Index>(),
        patch in "[0-9eE.,\"\\[\\]{}:a-z-]{0,12}",
    ) {
        let mut json = MANIFEST.as_bytes().to_vec();
        let at = at.index(json.len());
        let end = (at + patch.len()).min(json.len());
        json.splice(at..end, patch.bytes());
        entry::read_bundle(&described(&json, b"onnx"));
    }
}
