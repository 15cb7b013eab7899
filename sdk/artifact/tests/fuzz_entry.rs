//! The fuzzer's entry point over random and over nearly right bytes, so that it is run where there is no fuzzer.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code")]

#[path = "../fuzz/entry.rs"]
mod entry;

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
