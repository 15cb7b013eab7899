//! `build.json`: what a board's package was made from and what came out, with hashes. The same inputs give the same record.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use boards::Board;
use serde::Serialize;

use super::package::Package;
use super::programs::{self, Programs};
use crate::wheels::sha256_of;
use crate::workspace::Workspace;

/// What the programs are compiled from.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "sdk", "boards", "examples"];

#[derive(Debug, Serialize)]
struct Record<'a> {
    board: &'a str,
    version: &'a str,
    toolchain: &'a str,
    profile: &'a str,
    /// The newest glibc that the programs need, and the oldest that images for the board have.
    glibc_needed: Option<String>,
    glibc_floor: Option<String>,
    inputs: Vec<Item>,
    /// The file of all programs, and the names that it is called by.
    programs: Item,
    names: &'a [String],
    outputs: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    sha256: String,
}

impl Item {
    fn of(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), bytes: Some(bytes.len()), sha256: sha256_of(bytes) }
    }
}

/// The record as JSON.
///
/// # Errors
/// When a source cannot be read.
pub fn of(
    workspace: &Workspace,
    board: &Board,
    programs: &Programs,
    package: &Package,
    outputs: &[(String, Vec<u8>)],
) -> Result<String> {
    let glibc_floor = board.target.as_ref().and_then(|target| target.glibc_floor);
    let record = Record {
        board: &board.name,
        version: &package.version,
        toolchain: &programs.toolchain,
        profile: &programs.profile,
        glibc_needed: programs.needs.glibc.map(|version| version.to_string()),
        glibc_floor: glibc_floor.map(|version| version.to_string()),
        inputs: inputs(workspace, board, package)?,
        programs: Item::of(programs::FILE, &programs.bytes),
        names: &programs.names,
        outputs: outputs.iter().map(|(name, bytes)| Item::of(name, bytes)).collect(),
    };
    let text = serde_json::to_string_pretty(&record).context("cannot write the record")?;
    Ok(format!("{text}\n"))
}

fn inputs(workspace: &Workspace, board: &Board, package: &Package) -> Result<Vec<Item>> {
    let mut inputs = Vec::new();
    for source in SOURCES {
        let digest = digest(&workspace.join(source)).with_context(|| format!("cannot read {source}"))?;
        inputs.push(Item { name: source.into(), bytes: None, sha256: digest });
    }
    for (name, text) in boards::sources(&board.name)? {
        inputs.push(Item::of(name, text.as_bytes()));
    }
    let own = package.inputs.iter();
    inputs.extend(own.map(|(name, sha256)| Item { name: name.clone(), bytes: None, sha256: sha256.clone() }));
    Ok(inputs)
}

/// SHA-256 of a file, or over names and contents below a folder.
///
/// # Errors
/// When something cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return Ok(sha256_of(&fs::read(path)?));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let mut lines = String::new();
    for name in names {
        let shown = name.to_string_lossy();
        // Built or hidden files are no sources.
        if shown != "target" && !shown.starts_with('.') {
            lines += &format!("{shown} {}\n", digest(&path.join(&name))?);
        }
    }
    Ok(sha256_of(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_names_and_contents_alone() {
        let folder = tempfile::tempdir().unwrap();
        let of = |files: &[(&str, &str)]| {
            let inner = tempfile::tempdir_in(folder.path()).unwrap();
            for (name, text) in files {
                fs::write(inner.path().join(name), text).unwrap();
            }
            digest(inner.path()).unwrap()
        };
        let base = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(of(&[("b", "2"), ("a", "1")]), base);
        assert_eq!(of(&[("a", "1"), ("b", "2"), (".c", "3")]), base);
        assert_ne!(of(&[("a", "2"), ("b", "1")]), base);
        assert_ne!(of(&[("a", "1")]), base);
    }
}
