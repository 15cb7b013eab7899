//! A package as Debian's package manager takes it: an `ar` of two tar.gz. Reproducible, which is why it is written here;
//! what is in the package is decided elsewhere.

use anyhow::{Context, Result, bail};
use boards::Board;

use super::archive::{self, tar_gz};
use super::package::Package;
use super::programs::Programs;
use crate::tree::{Content, Kind, Node, Tree};

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

/// The package as the bytes of a .deb.
///
/// # Errors
/// When a program needs a library of no known package.
pub fn write(board: &Board, programs: &Programs, package: &Package) -> Result<Vec<u8>> {
    let mut control = Tree::default();
    let settings: String = package.settings.iter().map(|path| format!("/{path}\n")).collect();
    let file = |bytes: Vec<u8>, mode| Node::file(Content::Bytes(bytes), mode);
    control.put("control", file(control_file(board, programs, package)?.into_bytes(), 0o644))?;
    control.put("conffiles", file(settings.into_bytes(), 0o644))?;
    for (name, text) in &package.scripts {
        control.put(name, file(text.clone(), 0o755))?;
    }
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", tar_gz(&control)?),
        ("data.tar.gz", tar_gz(&package.tree)?),
    ];
    let date_s = archive::date_s()?;
    let mut ar = ar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = ar::Header::new(name.into(), bytes.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(date_s);
        ar.append(&header, &*bytes).with_context(|| format!("cannot pack {name}"))?;
    }
    ar.into_inner().context("cannot end the package")
}

/// The package's file: those of different boards lie beside each other.
pub fn file_name(board: &Board, programs: &Programs, package: &Package) -> String {
    format!("repedge-{}_{}_{}.deb", board.name, package.version, programs.debian_arch)
}

fn control_file(board: &Board, programs: &Programs, package: &Package) -> Result<String> {
    let installed_kib = installed_kib(&package.tree)?;
    Ok(format!(
        "Package: repedge\n\
         Version: {}\n\
         Architecture: {}\n\
         Board: {}\n\
         Maintainer: RepEdge <repedge@example.invalid>\n\
         Section: video\n\
         Priority: optional\n\
         Installed-Size: {installed_kib}\n\
         Depends: {}\n\
         Description: RepEdge detector for {}\n \
         Programs, model and settings for: {}.\n",
        package.version,
        programs.debian_arch,
        board.name,
        depends(programs)?,
        board.name,
        board.description
    ))
}

/// What dpkg asks for: the size of the files, each in whole KiB.
fn installed_kib(tree: &Tree) -> Result<u64> {
    let size = |node: &Node| match &node.kind {
        Kind::File(content) => content.size(),
        _ => Ok(0),
    };
    tree.nodes().map(|(_, node)| Ok(size(node)?.div_ceil(1024))).sum()
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
    use std::io::Read;

    use super::*;
    use crate::cross::elf::Needs;

    fn programs(library: &str) -> Programs {
        let libraries = vec!["libc.so.6".to_owned(), library.to_owned()];
        let needs = Needs { libraries, glibc: Some(boards::Version::new(2, 29)), ..Needs::default() };
        Programs { needs, ..Programs::of(&["p"], Vec::new()) }
    }

    fn package() -> Package {
        let mut tree = Tree::default();
        tree.put("etc/x.toml", Node::file(Content::Bytes(b"x".into()), 0o644)).unwrap();
        let scripts = vec![("postinst", b"#!/bin/sh\n".to_vec())];
        Package {
            tree,
            version: "1.0+abc".into(),
            settings: vec!["etc/x.toml".into()],
            scripts,
            inputs: Vec::new(),
        }
    }

    #[test]
    fn a_package_has_the_parts_dpkg_wants_in_their_order() {
        let board = Board::find("rk3588").unwrap();
        let deb = write(&board, &programs("libgcc_s.so.1"), &package()).unwrap();
        assert_eq!(deb, write(&board, &programs("libgcc_s.so.1"), &package()).unwrap());
        let mut ar = ar::Archive::new(&*deb);
        let mut names = Vec::new();
        while let Some(entry) = ar.next_entry() {
            let mut entry = entry.unwrap();
            names.push(String::from_utf8(entry.header().identifier().to_vec()).unwrap());
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if names.len() == 1 {
                assert_eq!(bytes, b"2.0\n");
            }
        }
        assert_eq!(names, ["debian-binary", "control.tar.gz", "data.tar.gz"]);
    }

    #[test]
    fn dependencies_come_from_the_programs() {
        assert_eq!(depends(&programs("libgcc_s.so.1")).unwrap(), "libc6 (>= 2.29), libgcc-s1, passwd");
        let error = depends(&programs("libfoo.so.3")).unwrap_err().to_string();
        assert!(error.contains("libfoo.so.3"), "{error}");
    }

    #[test]
    #[ignore = "needs dpkg-deb"]
    fn dpkg_reads_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        let board = Board::find("rk3588").unwrap();
        std::fs::write(&path, write(&board, &programs("libm.so.6"), &package()).unwrap()).unwrap();
        let ask = |argument: &str| {
            crate::workspace::capture(std::process::Command::new("dpkg-deb").arg(argument).arg(&path))
                .unwrap()
        };
        for line in ["Package: repedge", "Version: 1.0+abc", "Board: rk3588"] {
            assert!(ask("--info").contains(line), "{line}: {}", ask("--info"));
        }
        assert!(ask("--contents").contains("./etc/x.toml"), "{}", ask("--contents"));
    }
}
