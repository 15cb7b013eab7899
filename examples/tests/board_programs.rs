//! `board-programs` is every program of this package, by the name it is called by.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_board-programs");

fn called_as(name: &str, argument: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join(name);
    symlink(PROGRAM, &link).unwrap();
    Command::new(link).arg(argument).output().unwrap()
}

/// The programs that Cargo.toml lists.
fn listed() -> Vec<String> {
    let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml")).unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let names = bins.iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    names.filter(|name| *name != "board-programs").collect()
}

#[test]
fn it_is_each_program_of_this_package() {
    assert!(listed().len() >= 3);
    for name in listed() {
        let version = called_as(&name, "--version");
        assert!(version.status.success(), "{name}: {version:?}");
        assert_eq!(String::from_utf8(version.stdout).unwrap().split(' ').next(), Some(&*name));
        let usage = String::from_utf8(called_as(&name, "--help").stdout).unwrap();
        assert!(usage.contains(&format!("Usage: {name} ")), "{usage}");
    }
}

#[test]
fn another_name_is_an_error_that_lists_the_names() {
    let output = called_as("something-else", "--version");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let names = listed();
    assert!(names.iter().all(|name| error.contains(name.as_str())), "{error}");
    assert!(error.contains("something-else"), "{error}");
}
