use std::io::Cursor;

use proptest::prelude::*;

use super::header::HEADER_LEN;
use super::*;
use crate::manifest::tests::sample;
use crate::trust::tests::{key, ring};
use crate::{BackendKind, CheckImage, ExpectedBox};

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

/// A signed bundle of two payloads and a check image, as bytes.
fn signed_bytes() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bundle");
    let parts: [&[u8]; 3] = [b"first payload", b"second", b"picture"];
    let mut manifest = two_payloads([parts[0], parts[1]]);
    let expected = vec![ExpectedBox { class: 1, score: 0.5, box_px: [0.0, 1.0, 2.5, 3.0] }];
    manifest.check_images.push(CheckImage::new("000001.jpg", expected, parts[2]));
    Bundle::write_signed(&path, &manifest, &parts, &key()).unwrap();
    std::fs::read(path).unwrap()
}

fn open(bytes: &[u8]) -> Result<Bundle<Cursor<&[u8]>>, Error> {
    Bundle::from_source(Cursor::new(bytes), &Trust::anyone())
}

fn open_signed(bytes: &[u8]) -> Result<Bundle<Cursor<&[u8]>>, Error> {
    Bundle::from_source(Cursor::new(bytes), &Trust::keys(ring()))
}

/// A file of the manifest given, digests right, whatever it says.
fn forge(json: &[u8], payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Header::describe(json, 0, payloads).unwrap().to_bytes().to_vec();
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
    for mut bytes in [bundle_bytes(), signed_bytes()] {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(open(&bytes).is_err(), "bit {bit} of byte {at} of {} was flipped", bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        open(&bytes).unwrap();
    }
}

#[test]
fn every_flipped_byte_of_a_signed_bundle_is_noticed_by_who_knows_the_key() {
    let mut bytes = signed_bytes();
    for at in 0..bytes.len() {
        bytes[at] ^= 0x5a;
        assert!(open_signed(&bytes).is_err(), "byte {at} of {} was flipped", bytes.len());
        bytes[at] ^= 0x5a;
    }
    let mut bundle = open_signed(&bytes).unwrap();
    assert_eq!((bundle.signer(), bundle.is_signed()), (Some("test.pub"), true));
    assert_eq!(bundle.read_check_image(0).unwrap(), b"picture");
    assert_eq!(bundle.read_payload(1).unwrap(), b"second");
    assert!(bundle.read_payload(2).is_err() && bundle.read_check_image(1).is_err());
    assert_eq!(bundle.read_parts().unwrap(), [&b"first payload"[..], b"second", b"picture"]);
}

#[test]
fn every_truncation_and_every_addition_is_noticed() {
    for bytes in [bundle_bytes(), signed_bytes()] {
        for len in 0..bytes.len() {
            let error = open(&bytes[..len]).map(drop).expect_err("opened a truncated bundle").to_string();
            assert!(error.contains(&format!("a file of {len} bytes")), "{error}");
        }
        assert!(open(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_signature_is_judged_before_the_manifest_is_parsed() {
    let nonsense = forge(b"{", &[]);
    assert!(matches!(open(&nonsense), Err(Error::Artifact(_))));
    assert!(matches!(open_signed(&nonsense), Err(Error::Untrusted(_))));
}

#[test]
fn a_signature_of_another_bundle_is_none() {
    let (signed, other) = (signed_bytes(), {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.bundle");
        let manifest = Manifest { model: "tony".into(), ..sample(b"onnx") };
        Bundle::write_signed(&path, &manifest, &[b"onnx"], &key()).unwrap();
        std::fs::read(path).unwrap()
    });
    open_signed(&other).unwrap();
    let block = |bytes: &[u8]| {
        let start = HEADER_LEN + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        start..start + SIGNATURE_LEN as usize
    };
    let mut forged = other.clone();
    forged[block(&other)].copy_from_slice(&signed[block(&signed)]);
    open(&forged).unwrap();
    let error = open_signed(&forged).unwrap_err().to_string();
    assert!(error.contains("none of the 1 trusted keys"), "{error}");
}

#[test]
fn another_length_of_the_signature_block_is_refused() {
    let json = serde_json::to_vec(&sample(b"onnx")).unwrap();
    let mut bytes = Header::describe(&json, 4, &[b"onnx"]).unwrap().to_bytes().to_vec();
    bytes.extend([&json[..], b"sign", b"onnx"].concat());
    assert!(open(&bytes).unwrap_err().to_string().contains("a signature block of 4 bytes"));
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.bundle");
    assert!(Bundle::open(&path, &Trust::anyone()).unwrap_err().to_string().contains("broken.bundle"));
    std::fs::write(&path, "not a bundle\n".repeat(20)).unwrap();
    let error = Bundle::open(&path, &Trust::anyone()).unwrap_err().to_string();
    assert!(error.contains("broken.bundle") && error.contains("magic"), "{error}");
    std::fs::write(&path, &bundle_bytes()[..100]).unwrap();
    assert!(Bundle::open(&path, &Trust::anyone()).unwrap_err().to_string().contains("broken.bundle"));
}

#[test]
fn another_format_version_is_named() {
    let mut bytes = bundle_bytes();
    bytes[8] = 1;
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("format version 1") && error.contains("version 2"), "{error}");
}

#[test]
fn digests_do_not_excuse_a_bad_manifest() {
    let valid = serde_json::to_vec(&sample(b"onnx")).unwrap();
    open(&forge(&valid, &[b"onnx"])).unwrap();
    assert!(open(&forge(&valid, &[b"onnx", b"more"])).is_err(), "bytes after the payloads");
    assert!(open(&forge(&valid, &[b"on"])).is_err(), "a payload beyond the end");
    assert!(open(&forge(b"{}", &[])).unwrap_err().to_string().contains("missing field"));
    assert!(open(&forge(b"\xff\xfe", &[])).unwrap_err().to_string().contains("manifest"));
    let mut leading_out = sample(b"onnx");
    leading_out.payloads[0].name = "../../etc/passwd".into();
    let leading_out = serde_json::to_vec(&leading_out).unwrap();
    assert!(
        open(&forge(&leading_out, &[b"onnx"])).unwrap_err().to_string().contains("is the name of a payload")
    );
    let mut huge = sample(b"onnx");
    huge.payloads[0].length = u64::MAX;
    let huge = serde_json::to_vec(&huge).unwrap();
    assert!(open(&forge(&huge, &[b"onnx"])).is_err(), "a length that overflows");
}

#[test]
fn a_manifest_is_never_larger_than_its_file() {
    let file_len = HEADER_LEN as u64;
    let mut header = Header { manifest_len: u32::MAX, file_len, signature_len: 0, manifest_sha256: [0; 32] };
    assert!(open(&header.to_bytes()).unwrap_err().to_string().contains("a manifest of 4294967295 bytes"));
    header.manifest_len = 1;
    assert!(open(&header.to_bytes()).unwrap_err().to_string().contains("a manifest of 1 bytes"));
}

#[test]
fn a_file_changed_after_opening_is_noticed() {
    let bytes = bundle_bytes();
    let mut bundle = Bundle::from_source(Cursor::new(bytes), &Trust::anyone()).unwrap();
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
    fn overwritten_stretches_are_noticed(at in 0_usize..4000, patch in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut bytes = signed_bytes();
        let at = at.min(bytes.len() - 1);
        let end = (at + patch.len()).min(bytes.len());
        let before = bytes.clone();
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        prop_assert_eq!(open(&bytes).is_ok(), bytes == before);
    }
}
