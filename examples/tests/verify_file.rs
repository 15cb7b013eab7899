//! `self-test --verify-file`: what a board asks before it installs a package.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use artifact::Signer;
use signing::{KeyFiles, PrivateKey, Protection};

fn verify(file: &Path, signature: &Path, keys: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.arg("--verify-file").arg(file).arg("--signature").arg(signature).arg("--keys").arg(keys);
    command.output().unwrap()
}

#[test]
fn a_file_is_accepted_as_a_trusted_key_signed_it_and_never_else() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let files = KeyFiles::of(&keys, "ours");
    files.generate(Protection::None).unwrap();
    let (file, signature) = (folder.path().join("a.deb"), folder.path().join("a.deb.minisig"));
    fs::write(&file, "package").unwrap();
    let signed = PrivateKey::read(&files.private, "test").unwrap().sign(b"package").unwrap();
    fs::write(&signature, signed).unwrap();
    let accepted = verify(&file, &signature, &keys);
    let said = String::from_utf8(accepted.stdout).unwrap();
    assert!(accepted.status.success() && said.contains("ours.pub"), "{said}");

    let refused = verify(&file, &signature, &folder.path().join("no-keys"));
    assert_eq!(refused.status.code(), Some(1));
    fs::write(&file, "another").unwrap();
    let refused = verify(&file, &signature, &keys);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("a signature by none"), "{said}");
}
