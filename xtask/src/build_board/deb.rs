//! A package as Debian's package manager takes it, packed by cargo-deb. What is in it is decided elsewhere, and read again once
//! it is packed, because cargo-deb adds, compresses and leaves out some things unasked.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use boards::Board;
use flate2::read::GzDecoder;

use super::package::Package;
use super::programs::Programs;
use super::{archive, manifest};
use crate::tree::Tree;
use crate::workspace::capture;
use crate::{cargo_deb, image, system};

/// What a `.deb` is made of, in this order.
const MEMBERS: [&str; 3] = ["debian-binary", "control.tar.gz", "data.tar.gz"];
/// A target of each architecture that we have packages for: cargo-deb takes no architecture by its name.
const TARGETS: [(&str, &str); 3] = [
    ("amd64", "x86_64-unknown-linux-gnu"),
    ("arm64", "aarch64-unknown-linux-gnu"),
    ("armhf", "armv7-unknown-linux-gnueabihf"),
];

/// The package's file: those of different boards lie beside each other.
pub fn file_name(board: &Board, programs: &Programs, package: &Package) -> String {
    format!("repedge-{}_{}_{}.deb", board.name, package.version, programs.debian_arch)
}

/// The programs that pack.
#[derive(Debug, Clone)]
pub struct Packer {
    cargo_deb: PathBuf,
    /// cargo-deb's own gzip tries for minutes to save what little there is to be saved.
    gzip: PathBuf,
}

impl Packer {
    /// The programs, where they are there.
    ///
    /// # Errors
    /// Names what is missing, and how to get it.
    pub fn find() -> Result<Self> {
        let cargo_deb = cargo_deb::find()
            .map_err(|missing| anyhow!("cannot pack a .deb on this machine\n  {missing}"))?;
        Ok(Self { cargo_deb, gzip: system::program("gzip")? })
    }

    /// All of them.
    pub fn programs(&self) -> Vec<PathBuf> {
        vec![self.cargo_deb.clone(), self.gzip.clone()]
    }

    /// The package as the bytes of a .deb.
    ///
    /// # Errors
    /// When there is something that no package holds, or cargo-deb fails or packs something else.
    pub fn pack(&self, board: &Board, programs: &Programs, package: &Package) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().context("cannot make a folder to pack in")?;
        manifest::write(board, programs, package, folder.path())?;
        let file = folder.path().join("package.deb");
        let mut command = self.command(folder.path(), programs.debian_arch)?;
        // It prints where the file is, which is not where it stays.
        capture(command.args(["--deb-version", &package.version, "--output"]).arg(&file)).map(drop)?;
        expect_tree(&file, &package.tree, folder.path())?;
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// cargo-deb for what lies in a folder, told all that it would else take from this machine.
    fn command(&self, folder: &Path, architecture: &str) -> Result<Command> {
        let target = TARGETS.iter().find(|(name, _)| *name == architecture).map(|(_, target)| *target);
        let target = target.with_context(|| format!("cargo-deb was not asked for {architecture} yet"))?;
        let mut command = Command::new(&self.cargo_deb);
        command.current_dir(folder).args(["--no-build", "--no-strip", "--quiet"]);
        command.args(["--manifest-path", "Cargo.toml", "--target", target]);
        command.args(["--compress-type", "gzip", "--compress-system"]);
        command.env("SOURCE_DATE_EPOCH", archive::date_s()?.to_string());
        // It clears folders below these, which the user's may be.
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_BUILD_DIR"] {
            command.env(name, folder.join("target"));
        }
        // Options of gzip's.
        command.env_remove("GZIP");
        Ok(command)
    }
}

/// Checks that a `.deb` is whole and holds this tree, and nothing else.
fn expect_tree(file: &Path, tree: &Tree, scratch: &Path) -> Result<()> {
    let data = data(file).with_context(|| format!("cargo-deb packed no whole {}", file.display()))?;
    let (tar, spool) = (scratch.join("data.tar"), scratch.join("spool"));
    fs::write(&tar, data).with_context(|| format!("cannot write {}", tar.display()))?;
    fs::create_dir(&spool).with_context(|| format!("cannot make {}", spool.display()))?;
    let packed = image::archive::read(&tar, &spool, |_| true)?;
    let only_in = |one: &Tree, other: &Tree| {
        let paths: Vec<_> =
            one.nodes().map(|(path, _)| path).filter(|path| other.get(path).is_none()).collect();
        paths.join(", ")
    };
    let (lost, added) = (only_in(tree, &packed), only_in(&packed, tree));
    ensure!(
        packed.digest()? == tree.digest()?,
        "cargo-deb packed something else than the package: it left out [{lost}] and added [{added}]; what is in both may have \
         another content, mode or target. It leaves out empty folders, and compresses what is named like a manual"
    );
    Ok(())
}

/// The archive of the files. Every member is read to its end: cargo-deb asks neither gzip nor its last write how they ended.
fn data(file: &Path) -> Result<Vec<u8>> {
    let mut archive = ar::Archive::new(File::open(file)?);
    let (mut names, mut data) = (Vec::new(), Vec::new());
    while let Some(member) = archive.next_entry() {
        let mut member = member?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        data.clear();
        if name.ends_with(".gz") {
            GzDecoder::new(member).read_to_end(&mut data)?;
        } else {
            member.read_to_end(&mut data)?;
        }
        names.push(name);
    }
    ensure!(names == MEMBERS, "it is made of {names:?}, expected {MEMBERS:?}");
    Ok(data)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cross::elf::Needs;
    use crate::tree::{Content, Node};

    pub fn programs(library: &str) -> Programs {
        let libraries = vec!["libc.so.6".to_owned(), library.to_owned()];
        let needs = Needs { libraries, glibc: Some(boards::Version::new(2, 29)), ..Needs::default() };
        Programs { needs, ..Programs::of(&["p"], Vec::new()) }
    }

    pub fn package() -> Package {
        let mut tree = Tree::default();
        let file = |text: &str, mode| Node::file(Content::Bytes(text.into()), mode);
        tree.put("etc/x.toml", file("x", 0o644)).unwrap();
        tree.put("usr/bin/program", file("#!/bin/sh\n", 0o755)).unwrap();
        tree.put("usr/bin/link", Node::symlink("program")).unwrap();
        tree.put("usr/share/doc/repedge/copyright", file("ours", 0o644)).unwrap();
        let scripts = vec![("postinst", b"#!/bin/sh\n".to_vec())];
        Package {
            tree,
            version: "1.0+abc".into(),
            settings: vec!["etc/x.toml".into()],
            scripts,
            inputs: Vec::new(),
        }
    }

    fn pack(package: &Package) -> Result<Vec<u8>> {
        Packer::find().unwrap().pack(&Board::find("rk3588").unwrap(), &programs("libgcc_s.so.1"), package)
    }

    #[test]
    fn every_board_has_an_architecture_that_can_be_asked_for() {
        let boards = boards::names().filter_map(|name| Board::find(name).unwrap().target);
        for target in boards {
            let arch = target.debian_arch();
            assert!(TARGETS.iter().any(|(name, _)| *name == arch), "{}: {arch}", target.triple);
        }
    }

    #[test]
    fn cargo_deb_takes_nothing_from_this_machine() {
        let packer = Packer { cargo_deb: "/cache/cargo-deb".into(), gzip: "gzip".into() };
        let command = packer.command(Path::new("/tmp/pack"), "armhf").unwrap();
        let shown = crate::workspace::display(&command);
        assert!(shown.contains("--no-build --no-strip") && shown.contains("--target armv7-"), "{shown}");
        let set: Vec<_> = command.get_envs().map(|(name, value)| (name.to_str().unwrap(), value)).collect();
        let date_s = archive::date_s().unwrap().to_string();
        for (name, value) in [
            ("SOURCE_DATE_EPOCH", Some(date_s.as_str())),
            ("CARGO_TARGET_DIR", Some("/tmp/pack/target")),
            ("CARGO_BUILD_BUILD_DIR", Some("/tmp/pack/target")),
            ("GZIP", None),
        ] {
            assert!(set.contains(&(name, value.map(AsRef::as_ref))), "{name}: {set:?}");
        }
        let error = packer.command(Path::new("/tmp/pack"), "pdp11").unwrap_err().to_string();
        assert!(error.contains("pdp11"), "{error}");
    }

    #[test]
    #[ignore = "needs cargo-deb of cargo xtask setup deb"]
    fn a_package_has_the_parts_dpkg_wants_in_their_order() {
        let deb = pack(&package()).unwrap();
        assert_eq!(deb, pack(&package()).unwrap());
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
    #[ignore = "needs cargo-deb of cargo xtask setup deb"]
    fn what_cargo_deb_would_change_is_noticed() {
        let refusal = |path: &str, node: Node| {
            let mut package = package();
            package.tree.put(path, node).unwrap();
            pack(&package).unwrap_err().to_string()
        };
        let error = refusal("var/lib/empty", Node::folder(0o755));
        assert!(error.contains("left out [var, var/lib, var/lib/empty] and added []"), "{error}");
        let news = Node::file(Content::Bytes("news".into()), 0o644);
        let error = refusal("usr/share/doc/repedge/NEWS", news);
        assert!(error.contains("added [usr/share/doc/repedge/NEWS.gz]"), "{error}");
        let error =
            refusal("usr/lib/secret/x", Node { uid: 7, ..Node::file(Content::Bytes(Vec::new()), 0o600) });
        assert!(error.contains("left out [] and added []"), "{error}");
    }

    /// A `.deb` of such members.
    fn of_members(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut ar = ar::Builder::new(Vec::new());
        for (name, bytes) in members {
            ar.append(&ar::Header::new(name.as_bytes().into(), bytes.len() as u64), *bytes).unwrap();
        }
        ar.into_inner().unwrap()
    }

    /// What is said against a `.deb` that was to hold [`package`]'s tree.
    fn complaint(deb: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.deb");
        fs::write(&file, deb).unwrap();
        let complaint = expect_tree(&file, &package().tree, folder.path()).err();
        complaint.map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn what_was_packed_is_compared_with_what_was_to_be() {
        let control = archive::tar_gz(&Tree::default()).unwrap();
        let deb = |tree: &Tree| {
            let data = archive::tar_gz(tree).unwrap();
            of_members(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)])
        };
        let whole = deb(&package().tree);
        assert_eq!(complaint(&whole), "");
        // The last byte may be what fills the last member up.
        for length in [whole.len() - 2, whole.len() / 2] {
            let complaint = complaint(&whole[..length]);
            assert!(complaint.contains("packed no whole"), "{length}: {complaint}");
        }
        let mut other = package().tree;
        other.put("usr/bin/link", Node::symlink("other")).unwrap();
        assert!(complaint(&deb(&other)).contains("left out [] and added []"));
        other.put("usr/bin/more", Node::symlink("x")).unwrap();
        assert!(complaint(&deb(&other)).contains("added [usr/bin/more]"));
        assert!(complaint(&deb(&Tree::default())).contains("left out [etc, etc/x.toml, usr,"));
        let half = of_members(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control)]);
        assert!(
            complaint(&half).contains("expected [\"debian-binary\", \"control.tar.gz\", \"data.tar.gz\"]")
        );
    }

    #[test]
    #[ignore = "needs cargo-deb of cargo xtask setup deb"]
    fn flash_reads_for_which_board_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        fs::write(&path, pack(&package()).unwrap()).unwrap();
        let read = crate::flash::Package::open(&path).unwrap();
        assert_eq!(read.version, "1.0+abc");
        read.expect(&Board::find("rk3588").unwrap()).unwrap();
        read.expect(&Board::find("rk3568").unwrap()).unwrap_err();
    }

    #[test]
    #[ignore = "needs cargo-deb of cargo xtask setup deb and dpkg-deb"]
    fn dpkg_reads_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        fs::write(&path, pack(&package()).unwrap()).unwrap();
        let ask = |option: &str, file: &[&str]| {
            capture(Command::new("dpkg-deb").arg(option).arg(&path).args(file)).unwrap()
        };
        let board = Board::find("rk3588").unwrap();
        for (field, value) in [
            ("Package", "repedge"),
            ("Version", "1.0+abc"),
            ("Architecture", "arm64"),
            ("Board", "rk3588"),
            ("Section", "video"),
            ("Priority", "optional"),
            ("Maintainer", "RepEdge <repedge@example.invalid>"),
            ("Depends", "libc6 (>= 2.29), libgcc-s1, passwd"),
            ("Description", "RepEdge detector for rk3588"),
            ("Description", &board.description),
        ] {
            let told = ask("--field", &[field]);
            assert!(told.replace("\n ", " ").contains(value), "{field}: {told}");
        }
        for entry in ["./etc/x.toml", "./usr/bin/link -> program", "-rwxr-xr-x 0/0"] {
            assert!(ask("--contents", &[]).contains(entry), "{entry}: {}", ask("--contents", &[]));
        }
        assert_eq!(ask("--info", &["postinst"]), "#!/bin/sh\n");
        assert_eq!(ask("--info", &["conffiles"]), "/etc/x.toml\n");
    }
}
