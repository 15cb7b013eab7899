use std::io::Cursor;
use std::sync::LazyLock;

use minisign::KeyPair;

use super::*;
use crate::manifest::tests::sample;
use crate::{BackendKind, Bundle, Signer};

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_unencrypted_keypair().unwrap());
static OTHER: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_unencrypted_keypair().unwrap());

impl Signer for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let signed = minisign::sign(Some(&self.pk), &self.sk, Cursor::new(message), None, None);
        Ok(signed.unwrap().into_string())
    }
}

/// A key that signs.
pub(crate) fn key() -> KeyPair {
    KEY.clone()
}

/// The ring that trusts [`key`] as `test.pub`.
pub(crate) fn ring() -> KeyRing {
    let mut ring = KeyRing::default();
    ring.add("test.pub", &KEY.pk.to_box().unwrap().into_string()).unwrap();
    ring
}

fn bundle(manifest: &Manifest, signer: Option<&KeyPair>) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bundle");
    match signer {
        Some(key) => Bundle::write_signed(&path, manifest, &[b"onnx"], key).unwrap(),
        None => Bundle::write(&path, manifest, &[b"onnx"]).unwrap(),
    };
    std::fs::read(path).unwrap()
}

fn judge(bytes: &[u8], trust: &Trust) -> Result<(), String> {
    Bundle::from_source(Cursor::new(bytes), trust).map(drop).map_err(|error| {
        assert!(matches!(error, Error::Untrusted(_)), "{error}");
        error.to_string()
    })
}

#[test]
fn only_who_holds_a_trusted_key_is_trusted() {
    let manifest = sample(b"onnx");
    let (signed, foreign) = (bundle(&manifest, Some(&KEY)), bundle(&manifest, Some(&OTHER)));
    let unsigned = bundle(&manifest, None);
    let trust = Trust::keys(ring());
    judge(&signed, &trust).unwrap();
    assert!(judge(&foreign, &trust).unwrap_err().contains("none of the 1 trusted keys"));
    assert!(judge(&unsigned, &trust).unwrap_err().contains("--allow-unsigned"));
    for bytes in [&signed, &foreign, &unsigned] {
        judge(bytes, &Trust::anyone()).unwrap();
        assert!(judge(bytes, &Trust::default()).is_err(), "trusted by default");
    }
    assert!(judge(&signed, &Trust::default()).unwrap_err().contains("trusts no key"));
}

#[test]
fn older_security_versions_are_replays() {
    let bytes = bundle(&Manifest { security_version: 3, ..sample(b"onnx") }, Some(&KEY));
    let trust = |minimum_security_version| Trust { minimum_security_version, ..Trust::keys(ring()) };
    judge(&bytes, &trust(0)).unwrap();
    judge(&bytes, &trust(3)).unwrap();
    let error = judge(&bytes, &trust(4)).unwrap_err();
    assert!(error.contains("security version 3") && error.contains("at least 4"), "{error}");
}

#[test]
fn bundles_of_other_boards_are_refused() {
    let for_targets = |targets: &[&str]| {
        let mut manifest = sample(b"onnx");
        let payload = manifest.payloads.remove(0);
        manifest.payloads = targets
            .iter()
            .map(|&target| {
                let backend = if target == "host" { BackendKind::Tract } else { BackendKind::Rknn };
                crate::Payload { name: target.into(), target: target.into(), backend, ..payload.clone() }
            })
            .collect();
        manifest
    };
    let npu = |chip: &str| Device::Npu { chip: chip.into() };
    let accepts = |device: Device, targets: &[&str]| {
        Trust { device, ..Trust::anyone() }.judge_manifest(&for_targets(targets))
    };
    for (device, targets) in [
        (npu("rk3588"), &["rk3588", "host"][..]),
        (npu("rk3588"), &["rk3576", "rk3588"]),
        (npu("rk3566"), &["rk3568"]),
        (npu("rk3588"), &["host"]),
        (Device::Cpu, &["rk3588", "host"]),
        (Device::Any, &["rk3588"]),
    ] {
        accepts(device, targets).unwrap();
    }
    for (device, targets) in
        [(npu("rk3588"), &["rk3576", "host"][..]), (npu("rk3588"), &["rk3576"]), (Device::Cpu, &["rk3588"])]
    {
        let error = accepts(device, targets).unwrap_err().to_string();
        assert!(error.contains(targets[0]) && error.contains("another board"), "{error}");
    }
}

#[test]
fn a_target_tells_a_terminal_nothing() {
    let for_target = |target: &str| {
        let mut manifest = sample(b"onnx");
        manifest.payloads[0].target = target.into();
        manifest
    };
    for target in ["rk3588", "rv1106b", "host", "a_board-2.1"] {
        Trust::anyone().judge_manifest(&for_target(target)).unwrap();
    }
    let long = "a".repeat(65);
    for target in
        ["\u{1b}]0;x\u{7}", "rk3588\n  help: all is well", "host ", "\u{9b}2J", "\u{202e}tsoh", "", &long]
    {
        let error = Trust::anyone().judge_manifest(&for_target(target)).unwrap_err().to_string();
        assert!(error.contains("the target of a payload"), "{error}");
        assert_eq!(error.lines().count(), 3, "found, expected and help: {error}");
        assert!(error.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bundle");
    let error = Bundle::write(&path, &for_target("\u{1b}c"), &[b"onnx"]).unwrap_err();
    assert!(error.to_string().contains("the target of a payload") && !path.exists(), "{error}");
}

#[test]
fn a_ring_is_the_pub_files_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    assert!(KeyRing::read(dir.path()).unwrap().is_empty());
    assert!(KeyRing::read(&dir.path().join("none")).unwrap().is_empty());
    write("ours.pub", &KEY.pk.to_box().unwrap().into_string());
    write("ours.key", "private");
    let ring = KeyRing::read(dir.path()).unwrap();
    let signer = Trust::keys(ring).judge_origin(b"message", Some(&KEY.sign(b"message").unwrap())).unwrap();
    assert!(signer.unwrap().ends_with("ours.pub"));
    write("broken.pub", "untrusted comment: x\nnot base64\n");
    assert!(KeyRing::read(dir.path()).unwrap_err().to_string().contains("broken.pub"));
}

#[test]
fn a_file_is_verified_by_the_signature_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let package = write("a.deb", b"package");
    let signature = write("a.deb.minisig", KEY.sign(b"package").unwrap().as_bytes());
    assert_eq!(signer_of_file(&package, &signature, &ring()).unwrap(), "test.pub");
    let refusal = |package: &std::path::Path, signature: &std::path::Path, keys: &KeyRing| {
        signer_of_file(package, signature, keys).unwrap_err().to_string()
    };
    let error = refusal(&write("b.deb", b"changed"), &signature, &ring());
    assert!(error.contains("b.deb: a signature by none of the 1") && error.contains("--sign"), "{error}");
    let foreign = write("foreign.minisig", OTHER.sign(b"package").unwrap().as_bytes());
    assert!(refusal(&package, &foreign, &ring()).contains("none of the 1 trusted keys"));
    assert!(refusal(&package, &write("none.minisig", b"none"), &ring()).contains("not minisign's"));
    assert!(refusal(&package, &signature, &KeyRing::default()).contains("trusts no key"));
    assert!(refusal(&package, &dir.path().join("missing"), &ring()).contains("missing"));
}

#[test]
fn the_minimum_only_rises() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/minimum");
    assert_eq!(minimum_security_version(&path).unwrap(), 0);
    assert_eq!(raise_minimum_security_version(&path, 0).unwrap(), 0);
    assert!(!path.exists());
    assert_eq!(raise_minimum_security_version(&path, 3).unwrap(), 3);
    assert_eq!(raise_minimum_security_version(&path, 2).unwrap(), 3);
    assert_eq!(minimum_security_version(&path).unwrap(), 3);
    std::fs::write(&path, "many\n").unwrap();
    assert!(minimum_security_version(&path).unwrap_err().to_string().contains("many"));
    assert!(raise_minimum_security_version(&path, 4).is_err());
}
