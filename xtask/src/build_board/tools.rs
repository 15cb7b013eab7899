//! What made a package beside its inputs: programs with version and digest, and the Debian packages that they and their libraries
//! came in. It asks, and changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Serialize;

use super::record::Item;
use crate::debian::{Pins, Used};
use crate::system;
use crate::workspace::capture;

/// Programs that make disk images.
const IMAGE_MAKERS: [&str; 4] = ["genimage", "mke2fs", "debugfs", "fakeroot"];

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    #[serde(flatten)]
    file: Item,
    /// The first line that it prints when asked; none where it does not answer.
    version: Option<String>,
}

impl Tool {
    /// A program, as it stands on this machine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Self { file: Item::of_file(path)?, version: version_of(path) })
    }
}

/// The programs that make disk images.
///
/// # Errors
/// When one is not installed.
pub fn image_makers() -> Result<Vec<PathBuf>> {
    IMAGE_MAKERS.iter().map(|name| system::program(name)).collect()
}

fn version_of(path: &Path) -> Option<String> {
    let question = match path.file_name()?.to_str()? {
        "zig" => "version",
        "mke2fs" | "debugfs" => "-V",
        _ => "--version",
    };
    let output = Command::new(path).arg(question).stdin(Stdio::null()).output().ok()?;
    // e2fsprogs answers on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(String::from)
}

/// The Debian packages that files belong to, in order; none where dpkg knows of none.
///
/// # Errors
/// When dpkg names a package and does not tell its version.
pub fn packages_of(files: &[PathBuf], pins: &Pins) -> Result<Vec<Used>> {
    let paths: BTreeSet<_> = files.iter().flat_map(|file| names_of(file)).collect();
    if paths.is_empty() || !system::on_path("dpkg-query") {
        return Ok(Vec::new());
    }
    // It fails where one of many belongs to no package, and names those of the others all the same.
    let found = dpkg_query().arg("--search").args(paths).stdin(Stdio::null()).output();
    let found = found.context("cannot start dpkg-query")?.stdout;
    let names = owners(&String::from_utf8_lossy(&found));
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let format = "--showformat=${Package} ${Architecture} ${Version}\n";
    let told = capture(dpkg_query().args(["--show", format]).args(names))?;
    let packages: BTreeSet<_> = told.lines().filter_map(|line| installed(line, pins)).collect();
    Ok(packages.into_iter().collect())
}

/// A package by what dpkg tells of it: name, architecture and version.
fn installed(line: &str, pins: &Pins) -> Option<Used> {
    let [name, architecture, version] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let pinned = pins.version(name, architecture) == Some(version);
    let [name, architecture, version] = [name, architecture, version].map(String::from);
    Some(Used { name, architecture, version, sha256: None, pinned })
}

/// dpkg-query in no language but its own: its answers are read.
fn dpkg_query() -> Command {
    let mut command = Command::new("dpkg-query");
    command.env("LC_ALL", "C");
    command
}

/// What dpkg may know a file by: its own name, that of what it links to, and each as it was before /bin became /usr/bin.
fn names_of(file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().ok().filter(|_| file.is_absolute());
    let all = real.into_iter().flat_map(|real| [file.to_owned(), real]);
    all.flat_map(|path| {
        let before = path.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest));
        std::iter::once(path).chain(before)
    })
    .collect()
}

/// The packages in what `dpkg-query --search` prints, lines such as `gcc-12, gcc-12-base:amd64: /usr/share/doc`.
fn owners(found: &str) -> BTreeSet<String> {
    let lines = found.lines().filter(|line| !line.starts_with("diversion "));
    let owned = lines.filter_map(|line| line.rsplit_once(": "));
    owned.flat_map(|(names, _)| names.split(", ")).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;
    use crate::debian::Package;

    #[test]
    fn a_tool_is_told_by_version_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        for (name, question) in [("zig", "version"), ("mke2fs", "-V"), ("aarch64-linux-gnu-gcc", "--version")]
        {
            let path = folder.path().join(name);
            fs::write(
                &path,
                format!("#!/bin/sh\n[ \"$1\" = {question} ] && printf '\\n  {name} 1.2 \\nmore\\n' >&2\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let tool = Tool::of(&path).unwrap();
            assert_eq!(tool.version, Some(format!("{name} 1.2")));
            assert_eq!(tool.file, Item::of_file(&path).unwrap());
        }
        let silent = folder.path().join("ld");
        fs::write(&silent, "links").unwrap();
        assert_eq!(Tool::of(&silent).unwrap().version, None);
    }

    #[test]
    fn packages_are_read_from_what_dpkg_prints() {
        let found = "e2fsprogs: /sbin/mke2fs\ndiversion by dash from: /bin/sh\ngcc-12, libstd-rust-web-dev:arm64: /usr/lib\n";
        let owners = owners(found);
        assert!(owners.iter().eq(["e2fsprogs", "gcc-12", "libstd-rust-web-dev:arm64"]), "{owners:?}");
    }

    #[test]
    fn an_installed_package_is_pinned_by_its_version() {
        let sha256 = "a".repeat(64);
        let [name, architecture, version] = ["gcc-12", "amd64", "12.2.0-14"].map(String::from);
        let pins = Pins::of(&[Package { name, architecture, version, sha256 }]).unwrap();
        let used = installed("gcc-12 amd64 12.2.0-14", &pins).unwrap();
        let told = json!({"name": "gcc-12", "architecture": "amd64", "version": "12.2.0-14", "pinned": true});
        assert_eq!(serde_json::to_value(used).unwrap(), told);
        for other in ["gcc-12 amd64 12.2.0-15", "gcc-12 arm64 12.2.0-14", "gcc-13 amd64 12.2.0-14"] {
            assert!(!installed(other, &pins).unwrap().pinned, "{other}");
        }
        assert_eq!(installed("", &pins), None);
    }

    #[test]
    fn files_are_looked_for_under_the_names_that_packages_know() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("gcc-12");
        let link = folder.path().join("gcc");
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink("gcc-12", &link).unwrap();
        let names = names_of(&link);
        assert!(names.contains(&link) && names.contains(&real), "{names:?}");
        // What a compiler answers that has no such file: dpkg would take it for a pattern.
        assert!(names_of(Path::new("libc.so.6")).is_empty());
        if Path::new("/usr/bin/env").is_file() {
            assert!(names_of(Path::new("/usr/bin/env")).contains(&PathBuf::from("/bin/env")));
        }
    }

    #[test]
    #[ignore = "needs dpkg-deb and dpkg"]
    fn what_a_program_came_in_is_known_with_its_version() {
        let dpkg = system::program("dpkg").unwrap();
        let packages = packages_of(&[dpkg, PathBuf::from("/no/such/file")], &Pins::default()).unwrap();
        assert!(packages.len() == 1 && packages[0].name == "dpkg", "{packages:?}");
        assert!(packages[0].version.contains('.') && !packages[0].pinned, "{packages:?}");
    }
}
