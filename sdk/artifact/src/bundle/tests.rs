use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::BackendKind;
use crate::manifest::tests::sample;

/// A bundle of two payloads, as bytes.
fn bundle_bytes() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bundle");
    let payloads: [&[u8]; 2] = [b"first payload", b"second"];
    Bundle::write(&path, &two_payloads(payloads), &payloads).unwrap();
    std::fs::read(path).unwrap()
}

fn two_payloads(payloads: [&[u8]; 2]) -> Manifest {
    let mut manifest = sample(payloads[0]);
    let mut second = sample(payloads[1]).payloads.remove(0);
    (second.name, second.backend) = ("npu".into(), BackendKind::Rknn);
    manifest.payloads.push(second);
    manifest
}

fn open(bytes: &[u8]) -> Result<Bundle<Cursor<&[u8]>>, Error> {
    Bundle::from_source(Cursor::new(bytes))
}

/// A file of the manifest given, digests right, whatever it says.
fn forge(json: &[u8], payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Header::describe(json, payloads).unwrap().to_bytes().to_vec();
    bytes.extend_from_slice(json);
    payloads.iter().for_each(|payload| bytes.extend_from_slice(payload));
    bytes
}

#[test]
fn what_is_written_is_read() {
    let bytes = bundle_bytes();
    let mut bundle = open(&bytes).unwrap();
    assert_eq!(*bundle.manifest(), two_payloads([b"first payload", b"second"]));
    assert_eq!(bundle.read_payload(1).unwrap(), b"second");
    assert_eq!(bundle.read_payload(0).unwrap(), b"first payload");
    assert!(bundle.read_payload(2).unwrap_err().to_string().contains("no payload 2"));
}

#[test]
fn what_was_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bundle");
    let payload: &[u8] = b"payload";
    let written = Bundle::write(&path, &sample(payload), &[payload]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(written.sha256, digest::hex(&digest::sha256(&bytes)));
}

#[test]
fn what_does_not_read_back_is_named_by_its_final_name() {
    let dir = tempfile::tempdir().unwrap();
    let (finished, path) = (dir.path().join(".1-0.tmp"), dir.path().join("a.bundle"));
    std::fs::write(&finished, bundle_bytes()).unwrap();
    let manifest = two_payloads([b"first payload", b"second"]);
    read_back(&finished, &path, &manifest).unwrap();
    let other = Manifest { model: "other".into(), ..manifest.clone() };
    let mut damaged = bundle_bytes();
    *damaged.last_mut().unwrap() ^= 1;
    let error = read_back(&finished, &path, &other).unwrap_err().to_string();
    assert!(error.contains("a.bundle") && error.contains("read back"), "{error}");
    std::fs::write(&finished, damaged).unwrap();
    let error = read_back(&finished, &path, &manifest).unwrap_err().to_string();
    assert!(error.contains("a.bundle") && error.contains("digest"), "{error}");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = bundle_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(open(&bytes).is_err(), "bit {bit} of byte {at} of {} was flipped unnoticed", bytes.len());
            bytes[at] ^= 1 << bit;
        }
    }
    open(&bytes).unwrap();
}

#[test]
fn every_truncation_and_every_addition_is_noticed() {
    let bytes = bundle_bytes();
    for len in 0..bytes.len() {
        let error = open(&bytes[..len]).map(|_| ()).expect_err("opened a truncated bundle").to_string();
        assert!(error.contains(&format!("a file of {len} bytes")), "{error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(open(&longer).is_err());
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.bundle");
    assert!(Bundle::open(&path).unwrap_err().to_string().contains("broken.bundle"));
    std::fs::write(&path, "not a bundle\n".repeat(20)).unwrap();
    let error = Bundle::open(&path).unwrap_err().to_string();
    assert!(error.contains("broken.bundle") && error.contains("magic"), "{error}");
    std::fs::write(&path, &bundle_bytes()[..100]).unwrap();
    assert!(Bundle::open(&path).unwrap_err().to_string().contains("broken.bundle"));
}

#[test]
fn another_format_version_is_named() {
    let mut bytes = bundle_bytes();
    bytes[8] = 2;
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("format version 2") && error.contains("version 1"), "{error}");
}

#[test]
fn digests_do_not_excuse_a_bad_manifest() {
    let valid = serde_json::to_vec(&sample(b"onnx")).unwrap();
    open(&forge(&valid, &[b"onnx"])).unwrap();
    assert!(open(&forge(&valid, &[b"onnx", b"more"])).is_err(), "bytes after the payloads");
    assert!(open(&forge(&valid, &[b"on"])).is_err(), "a payload beyond the end");
    assert!(open(&forge(b"{}", &[])).unwrap_err().to_string().contains("missing field"));
    assert!(open(&forge(b"\xff\xfe", &[])).unwrap_err().to_string().contains("manifest"));
    let mut huge = sample(b"onnx");
    huge.payloads[0].length = u64::MAX;
    let huge = serde_json::to_vec(&huge).unwrap();
    assert!(open(&forge(&huge, &[b"onnx"])).is_err(), "a length that overflows");
}

#[test]
fn a_manifest_is_never_larger_than_its_file() {
    let mut header = Header { manifest_len: u32::MAX, file_len: HEADER_LEN as u64, manifest_sha256: [0; 32] };
    assert!(open(&header.to_bytes()).unwrap_err().to_string().contains("a manifest of 4294967295 bytes"));
    header.manifest_len = 1;
    assert!(open(&header.to_bytes()).unwrap_err().to_string().contains("a manifest of 1 bytes"));
}

#[test]
fn a_file_changed_after_opening_is_noticed() {
    let bytes = bundle_bytes();
    let mut bundle = Bundle::from_source(Cursor::new(bytes)).unwrap();
    *bundle.source.get_mut().last_mut().unwrap() ^= 1;
    assert!(bundle.read_payload(0).is_ok());
    assert!(bundle.read_payload(1).unwrap_err().to_string().contains("\"npu\" does not have its digest"));
}

#[test]
fn only_described_payloads_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bundle");
    let mut manifest = sample(b"onnx");
    assert!(Bundle::write(&path, &manifest, &[]).is_err());
    assert!(Bundle::write(&path, &manifest, &[b"xnno"]).is_err());
    manifest.confidence = 2.0;
    assert!(Bundle::write(&path, &manifest, &[b"onnx"]).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(open(&bytes).is_err());
    }

    #[test]
    fn random_manifests_never_panic(json in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&forge(&json, &[b"payload"])).is_err());
    }

    #[test]
    fn overwritten_stretches_are_noticed(at in 0_usize..2000, patch in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut bytes = bundle_bytes();
        let at = at.min(bytes.len() - 1);
        let end = (at + patch.len()).min(bytes.len());
        let before = bytes.clone();
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        prop_assert_eq!(open(&bytes).is_ok(), bytes == before);
    }
}
