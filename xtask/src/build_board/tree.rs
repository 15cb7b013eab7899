//! The files of a package in memory, by path, with their modes. Knows neither the package nor any archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::unpack::make_room;
use crate::wheels::sha256_of;

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Whether it is a program.
    pub mode: Mode,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What may be done with a file: everybody reads, root writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Data.
    Data,
    /// A program.
    Program,
}

impl Mode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Data => 0o644,
            Self::Program => 0o755,
        }
    }
}

/// Files by their path, which begins with no slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, File>,
    /// Folders that are there without a file in them.
    empty: BTreeSet<String>,
}

impl Tree {
    /// Adds a file.
    pub fn add(&mut self, path: &str, mode: Mode, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), File { mode, bytes });
    }

    /// Adds a folder that may stay empty.
    pub fn add_folder(&mut self, path: &str) {
        self.empty.insert(path.to_owned());
    }

    /// The files in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Every folder, parents first.
    pub fn folders(&self) -> BTreeSet<String> {
        let parents = self.files.keys().filter_map(|path| path.rsplit_once('/')).map(|(parent, _)| parent);
        let mut folders = BTreeSet::new();
        for folder in parents.chain(self.empty.iter().map(String::as_str)) {
            let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
            folders.extend(ends.map(|end| folder[..end].to_owned()));
        }
        folders
    }

    /// SHA-256 over paths, modes and contents.
    pub fn digest(&self) -> String {
        let line = |(path, file): (&String, &File)| {
            format!("{path}\0{:o}\0{}\n", file.mode.bits(), sha256_of(&file.bytes))
        };
        let lines: String = self.files.iter().map(line).collect();
        let folders: String = self.empty.iter().map(|folder| format!("{folder}/\n")).collect();
        sha256_of(format!("{lines}{folders}").as_bytes())
    }

    /// Writes the files below a folder.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        for path in self.folders() {
            let path = folder.join(path);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        for (path, File { mode, bytes }) in &self.files {
            let path = make_room(&folder.join(path))?;
            fs::write(&path, bytes)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode.bits())))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.add("usr/bin/x", Mode::Program, b"x".into());
        tree.add("etc/y", Mode::Data, b"y".into());
        tree.add_folder("etc/keys");
        tree
    }

    #[test]
    fn folders_are_listed_parents_first() {
        let folders: Vec<_> = tree().folders().into_iter().collect();
        assert_eq!(folders, ["etc", "etc/keys", "usr", "usr/bin"]);
    }

    #[test]
    fn every_part_counts_in_the_digest() {
        let base = tree().digest();
        let changed = |change: fn(&mut Tree)| {
            let mut tree = tree();
            change(&mut tree);
            tree.digest()
        };
        assert_eq!(changed(|_| {}), base);
        assert_ne!(changed(|tree| tree.add("etc/y", Mode::Program, b"y".into())), base);
        assert_ne!(changed(|tree| tree.add("etc/y", Mode::Data, b"z".into())), base);
        assert_ne!(changed(|tree| tree.add("etc/z", Mode::Data, b"y".into())), base);
        assert_ne!(changed(|tree| tree.add_folder("var")), base);
    }

    #[test]
    fn files_get_their_modes() {
        let folder = tempfile::tempdir().unwrap();
        tree().write_to(folder.path()).unwrap();
        let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("usr/bin/x"), mode("etc/y")), (0o755, 0o644));
        assert!(folder.path().join("etc/keys").is_dir());
    }
}
