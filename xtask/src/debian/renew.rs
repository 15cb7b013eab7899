//! Pins anew: the same packages, and the newest kernel, as Debian has them now. What is pinned is to be tested before it is
//! committed, so nothing is taken into use.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::apt::{Offer, offers};
use super::kernel::{self, is_kernel};
use super::pins::{FILE, Pins};
use crate::system;
use crate::workspace::Workspace;

/// Writes the file of pins anew, and says what changed.
///
/// # Errors
/// When Debian has a package no more, or the file cannot be written.
pub fn renew(workspace: &Workspace) -> Result<()> {
    let (file, old) = (workspace.join(FILE), Pins::read(workspace)?);
    system::renew_foreign_lists("arm64", kernel::NEWEST)?;
    let names = names_to_pin(&old, &kernel::newest()?);
    let new = pins_of(&names, offers(&names)?)?;
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {FILE}"))?;
    save(&file, &renewed(&text, &new)?).with_context(|| format!("cannot write {FILE}"))?;
    tell(&old, &new);
    Ok(())
}

/// What to ask apt for: what is pinned, and the newest kernel in the place of one of before.
fn names_to_pin(old: &Pins, newest_kernel: &str) -> Vec<String> {
    let name = |(architecture, name)| match architecture {
        // What is the same everywhere, apt finds only without it.
        "all" => String::from(name),
        _ if is_kernel(name) => format!("{newest_kernel}:{architecture}"),
        _ => format!("{name}:{architecture}"),
    };
    old.packages().map(name).collect()
}

fn pins_of(names: &[String], offers: Vec<Offer>) -> Result<Pins> {
    let found: Vec<_> = offers.into_iter().map(|offer| offer.candidate).collect();
    let is_found =
        |name: &&String| found.iter().any(|package| package.name == **name || package.full_name() == **name);
    let missing: Vec<_> = names.iter().filter(|name| !is_found(name)).map(String::as_str).collect();
    ensure!(
        missing.is_empty(),
        "{FILE} pins {}, and apt knows no such package\n  help: `apt-get update`, as root, reads its lists anew, and on another \
         architecture `dpkg --add-architecture amd64` makes them known; a package that Debian has no more is to be removed from the file by hand",
        missing.join(", ")
    );
    Pins::of(&found)
}

/// The file's text with these pins, behind the comment that it begins with.
fn renewed(text: &str, pins: &Pins) -> Result<String> {
    let comment = text.lines().take_while(|line| !line.starts_with('[')).map(|line| format!("{line}\n"));
    Ok(comment.collect::<String>() + &toml::to_string(pins).context("cannot write pins as TOML")?)
}

/// Writes beside and renames, so that there is never half of a file.
fn save(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut beside = tempfile::NamedTempFile::new_in(file.parent().context("a file without a folder")?)?;
    beside.write_all(text.as_bytes())?;
    beside.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    Ok(())
}

fn tell(old: &Pins, new: &Pins) {
    let changed: Vec<_> = new.beyond(old).collect();
    if changed.is_empty() {
        eprintln!("{FILE} pins what Debian has now");
        return;
    }
    for package in changed {
        eprintln!("{FILE} now pins {package}");
    }
    eprintln!(
        "`cargo xtask setup qemu` takes what guests are made of; test them (`cargo xtask test`), then commit {FILE}"
    );
}

#[cfg(test)]
mod tests {
    use super::super::apt::grouped;
    use super::super::{Package, package};
    use super::*;

    fn offered(packages: &[Package]) -> Vec<Offer> {
        grouped(packages, packages.to_vec())
    }

    #[test]
    fn the_same_packages_are_pinned_anew_with_the_newest_kernel() {
        let old = Pins::of(&[
            package("libc6-dev-arm64-cross:all", "1", "a"),
            package("libc6:arm64", "1", "a"),
            package("linux-image-6.1.0-55-arm64:arm64", "6.1.1", "a"),
        ]);
        let old = old.unwrap();
        let names = names_to_pin(&old, "linux-image-6.1.0-56-arm64");
        assert_eq!(names, ["libc6-dev-arm64-cross", "libc6:arm64", "linux-image-6.1.0-56-arm64:arm64"]);
        let now = [
            package("linux-image-6.1.0-56-arm64:arm64", "6.1.2", "b"),
            package("libc6-dev-arm64-cross:all", "1", "a"),
            package("libc6:arm64", "2", "b"),
        ];
        let new = pins_of(&names, offered(&now)).unwrap();
        assert_eq!(new, Pins::of(&now).unwrap());
        let changed: Vec<_> = new.beyond(&old).collect();
        assert_eq!(changed, ["libc6:arm64 2", "linux-image-6.1.0-56-arm64:arm64 6.1.2"]);

        let error = pins_of(&names, offered(&now[..2])).unwrap_err().to_string();
        assert!(error.contains(&format!("{FILE} pins libc6:arm64,")) && error.contains("help: "), "{error}");
    }

    #[test]
    fn a_file_keeps_its_comment_and_is_read_as_it_was_written() {
        let pins = Pins::of(&[
            package("libc6:arm64", "1", "a"),
            package("linux-image-6.1.0-55-arm64:arm64", "6.1.1", "b"),
            package("g++:amd64", "1:2~x+y", "c"),
        ]);
        let pins = pins.unwrap();
        let comment = "# What this is.\n#\n# More.\n\n";
        let text = renewed(&format!("{comment}[arm64.old]\nversion = \"1\"\n"), &pins).unwrap();
        assert!(text.starts_with(&format!("{comment}[a")), "{text}");
        assert_eq!(toml::from_str::<Pins>(&text).unwrap(), pins);
        assert_eq!(renewed(&text, &pins).unwrap(), text);
    }

    #[test]
    fn the_committed_file_is_as_it_would_be_written() {
        let workspace = Workspace::find().unwrap();
        let text = fs::read_to_string(workspace.join(FILE)).unwrap();
        assert_eq!(renewed(&text, &Pins::read(&workspace).unwrap()).unwrap(), text);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("debian.toml");
        fs::write(&file, "old").unwrap();
        save(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
