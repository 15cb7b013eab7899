//! The files of the repository, as git lists them: tracked ones and new ones that are not ignored.
//! Binary files are listed without their text.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::workspace::{Workspace, capture};

/// A file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with slashes.
    pub path: String,
    /// Its text; empty when it is not UTF-8.
    pub text: String,
}

/// All files of the repository.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the files that git tracks or would add.
    ///
    /// # Errors
    /// Outside of a git checkout.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(workspace.root());
        let list = capture(&mut git)?;
        let paths = list.split('\0').filter(|path| !path.is_empty());
        // A file removed from the work tree and not yet from the index has nothing to check.
        let present = paths.filter(|path| workspace.join(path).is_file());
        let files = present.map(|path| {
            let bytes = fs::read(workspace.join(path)).unwrap_or_default();
            File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() }
        });
        Ok(Self { files: files.collect() })
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The Rust sources.
    pub fn rust_files(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    /// A tree of made-up files.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { files: files.iter().map(file).collect() }
    }
}
