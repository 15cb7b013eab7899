//! What cargo-deb is given: a folder with the Cargo.toml of a crate that has no code, and the files which that names. The same
//! package gives the same text. It decides nothing and packs nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use boards::Board;
use serde::Serialize;

use super::package::Package;
use super::programs::Programs;
use crate::tree::{Kind, Node};

/// The package's name, on every board.
const NAME: &str = "repedge";
/// The folder of the scripts of the package manager.
const SCRIPTS: &str = "scripts";
/// The folder of the files, which are numbered: cargo-deb takes names of sources for patterns.
const FILES: &str = "files";
/// The file of the code that nobody compiles.
const LIB: &str = "lib.rs";
/// Shared libraries that programs may need, and the packages that have them.
const PACKAGES: [(&str, &str); 7] = [
    ("libc.so.6", "libc6"),
    ("libm.so.6", "libc6"),
    ("libdl.so.2", "libc6"),
    ("libpthread.so.0", "libc6"),
    ("librt.so.1", "libc6"),
    ("ld-linux", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1"),
];

#[derive(Debug, Serialize)]
struct Manifest {
    package: Crate,
    lib: Lib,
    /// A workspace of its own, whatever is in the folders above.
    workspace: Empty,
}

#[derive(Debug, Serialize)]
struct Crate {
    name: &'static str,
    edition: &'static str,
    description: String,
    license: &'static str,
    metadata: Metadata,
}

/// Cargo wants some code to be named.
#[derive(Debug, Serialize)]
struct Lib {
    path: &'static str,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Metadata {
    deb: Deb,
}

/// What cargo-deb reads.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Deb {
    name: &'static str,
    maintainer: &'static str,
    section: String,
    priority: &'static str,
    depends: String,
    extended_description: String,
    conf_files: Vec<String>,
    maintainer_scripts: &'static str,
    assets: Vec<Asset>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Asset {
    File { source: String, dest: String, mode: String },
    Symlink { dest: String, link_name: String },
}

/// Writes the folder for a package.
///
/// # Errors
/// When it cannot be written, a program needs a library of no known package, or there is something that no package holds.
pub fn write(board: &Board, programs: &Programs, package: &Package, folder: &Path) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    for inner in [SCRIPTS, FILES] {
        let inner = folder.join(inner);
        fs::create_dir(&inner).with_context(|| format!("cannot make {}", inner.display()))?;
    }
    put("Cargo.toml", text(board, programs, package)?.as_bytes())?;
    put(LIB, &[])?;
    for (name, script) in &package.scripts {
        put(&format!("{SCRIPTS}/{name}"), script)?;
    }
    for (at, (_, node)) in package.tree.nodes().enumerate() {
        if let Kind::File(content) = &node.kind {
            put(&source(at), &content.read()?)?;
        }
    }
    Ok(())
}

fn source(at: usize) -> String {
    format!("{FILES}/{at}")
}

/// The Cargo.toml.
fn text(board: &Board, programs: &Programs, package: &Package) -> Result<String> {
    let manifest = Manifest {
        package: Crate {
            name: NAME,
            edition: "2024",
            description: format!("RepEdge detector for {}", board.name),
            license: "MIT",
            metadata: Metadata { deb: deb(board, programs, package)? },
        },
        lib: Lib { path: LIB },
        workspace: Empty {},
    };
    toml::to_string(&manifest).context("cannot write the manifest for cargo-deb")
}

fn deb(board: &Board, programs: &Programs, package: &Package) -> Result<Deb> {
    let nodes = package.tree.nodes().enumerate();
    let assets: Vec<_> =
        nodes.filter_map(|(at, (path, node))| asset(at, path, node).transpose()).collect::<Result<_>>()?;
    Ok(Deb {
        name: NAME,
        maintainer: "RepEdge <repedge@example.invalid>",
        // cargo-deb knows no fields of others' own, and writes a second line as the field that it is. `flash` reads it.
        section: format!("video\nBoard: {}", board.name),
        priority: "optional",
        depends: depends(programs)?,
        extended_description: format!("Programs, model and settings for: {}.", board.description),
        conf_files: package.settings.iter().map(|path| format!("/{path}")).collect(),
        maintainer_scripts: SCRIPTS,
        assets,
    })
}

/// What cargo-deb is told of a node; nothing of folders, which it makes for what lies in them.
fn asset(at: usize, path: &str, node: &Node) -> Result<Option<Asset>> {
    let dest = path.to_owned();
    Ok(match &node.kind {
        Kind::Folder => None,
        Kind::File(_) => Some(Asset::File { source: source(at), dest, mode: format!("{:o}", node.mode) }),
        Kind::Symlink(target) => Some(Asset::Symlink { dest, link_name: target.clone() }),
        other => bail!("{path} is {other:?}: a package holds folders, files and symbolic links"),
    })
}

/// Packages of the libraries that the programs need, glibc in the version that they use.
fn depends(programs: &Programs) -> Result<String> {
    let mut packages = vec!["passwd".to_owned()];
    for library in &programs.needs.libraries {
        let known = PACKAGES.iter().find(|(name, _)| library.starts_with(name));
        let Some((_, package)) = known else {
            bail!("the programs need {library}, which no package that we know has");
        };
        packages.push(match programs.needs.glibc.filter(|_| *package == "libc6") {
            Some(version) => format!("libc6 (>= {version})"),
            None => (*package).to_owned(),
        });
    }
    packages.sort();
    packages.dedup();
    Ok(packages.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::deb::tests::{package, programs};
    use super::*;
    use crate::tree::{Content, Device};

    fn written() -> toml::Table {
        let board = Board::find("rk3588").unwrap();
        let text = text(&board, &programs("libgcc_s.so.1"), &package()).unwrap();
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn the_manifest_says_what_is_decided_elsewhere() {
        let manifest = written();
        assert!(manifest.contains_key("workspace"), "it would be a part of ours: {manifest}");
        let deb = &manifest["package"]["metadata"]["deb"];
        for (key, value) in [
            ("name", "repedge"),
            ("priority", "optional"),
            ("section", "video\nBoard: rk3588"),
            ("depends", "libc6 (>= 2.29), libgcc-s1, passwd"),
            ("maintainer-scripts", "scripts"),
        ] {
            assert_eq!(deb[key].as_str(), Some(value), "{key}");
        }
        assert_eq!(deb["conf-files"].as_array().unwrap(), &[toml::Value::from("/etc/x.toml")]);
        assert_eq!(manifest["package"]["description"].as_str(), Some("RepEdge detector for rk3588"));
    }

    #[test]
    fn every_file_is_listed_with_its_mode_and_every_link_with_its_target() {
        let manifest = written();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        let told = |asset: &toml::Value| {
            let text = |key: &str| asset.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            format!("{} {}{}", text("dest"), text("mode"), text("link_name"))
        };
        let assets: Vec<_> = assets.iter().map(told).collect();
        let expected = [
            "etc/x.toml 644",
            "usr/bin/link program",
            "usr/bin/program 755",
            "usr/share/doc/repedge/copyright 644",
        ];
        assert_eq!(assets, expected);
    }

    #[test]
    fn the_files_lie_where_the_manifest_says() {
        let (folder, board) = (tempfile::tempdir().unwrap(), Board::find("rk3588").unwrap());
        write(&board, &programs("libm.so.6"), &package(), folder.path()).unwrap();
        let manifest: toml::Table =
            toml::from_str(&fs::read_to_string(folder.path().join("Cargo.toml")).unwrap()).unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        let settings = folder.path().join(assets[0]["source"].as_str().unwrap());
        assert_eq!(fs::read_to_string(settings).unwrap(), "x");
        assert_eq!(fs::read_to_string(folder.path().join("scripts/postinst")).unwrap(), "#!/bin/sh\n");
    }

    #[test]
    fn dependencies_come_from_the_programs() {
        assert_eq!(depends(&programs("libgcc_s.so.1")).unwrap(), "libc6 (>= 2.29), libgcc-s1, passwd");
        let error = depends(&programs("libfoo.so.3")).unwrap_err().to_string();
        assert!(error.contains("libfoo.so.3"), "{error}");
    }

    #[test]
    fn what_no_package_holds_is_named() {
        let mut package = package();
        let pipe = Node { kind: Kind::Device(Device::Pipe), ..Node::file(Content::Bytes(Vec::new()), 0o644) };
        package.tree.put("run/pipe", pipe).unwrap();
        let board = Board::find("rk3588").unwrap();
        let error = text(&board, &programs("libm.so.6"), &package).unwrap_err().to_string();
        assert!(error.starts_with("run/pipe is Device(Pipe)"), "{error}");
    }
}
