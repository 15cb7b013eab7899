//! What lies where on a board: programs, model, board facts, service, settings, keys. Knows no archive format.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boards::Board;

use super::model::Bundle;
use super::programs::Programs;
use super::tree::{Mode, Tree};
use crate::wheels::sha256_of;
use crate::workspace::Workspace;

/// Where the package's own files lie in the workspace.
const FILES: &str = "examples/package";
/// The settings of the service.
const SETTINGS: &str = "examples/camera-demo/camera-demo.toml";
/// Where the package lies on a board; `activate` copies it from there.
const PACKAGE: &str = "usr/lib/repedge/package";
/// The program that runs as a service.
const SERVICE: &str = "camera-demo";
/// Digits of the content's hash in a version.
const HASH_DIGITS: usize = 12;

/// A package.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its files.
    pub tree: Tree,
    /// Version of the workspace and hash of the content.
    pub version: String,
    /// Files that are the user's once installed.
    pub settings: Vec<String>,
    /// Scripts of the package manager.
    pub scripts: Vec<(&'static str, Vec<u8>)>,
    /// Name and SHA-256 of each file that went in as it was.
    pub inputs: Vec<(String, String)>,
}

/// Puts the package together.
///
/// # Errors
/// When a file cannot be read.
pub fn compose(
    workspace: &Workspace,
    board: &Board,
    programs: &Programs,
    bundle: &Bundle,
    keys: &[PathBuf],
) -> Result<Package> {
    let mut composer = Composer { workspace, package: Package::empty() };
    for program in &programs.all {
        let path = format!("{PACKAGE}/bin/{}", program.name);
        composer.package.tree.add(&path, Mode::Program, program.bytes.clone());
    }
    let facts = serde_json::to_string_pretty(board).context("cannot write the board as JSON")?;
    composer.package.tree.add(
        &format!("{PACKAGE}/board.json"),
        Mode::Data,
        format!("{facts}\n").into_bytes(),
    );
    composer.package.inputs.push((bundle.source.clone(), sha256_of(&bundle.bytes)));
    composer.package.tree.add(&format!("{PACKAGE}/model.bundle"), Mode::Data, bundle.bytes.clone());
    composer.own("activate", &format!("{PACKAGE}/activate"), Mode::Program)?;
    composer.own("60-repedge.rules", "usr/lib/udev/rules.d/60-repedge.rules", Mode::Data)?;
    composer.own("repedge.sysusers", "usr/lib/sysusers.d/repedge.conf", Mode::Data)?;
    if programs.has(SERVICE) {
        let service = "repedge-camera-demo.service";
        composer.own(service, &format!("usr/lib/systemd/system/{service}"), Mode::Data)?;
        let settings = composer.read(Path::new(SETTINGS))?;
        composer.setting("etc/repedge/camera-demo.toml", settings);
    }
    composer.flags(bundle);
    composer.keys(keys)?;
    for script in ["postinst", "prerm", "postrm"] {
        let bytes = composer.read(&Path::new(FILES).join(script))?;
        composer.package.scripts.push((script, bytes));
    }
    Ok(composer.finish())
}

struct Composer<'a> {
    workspace: &'a Workspace,
    package: Package,
}

impl Composer<'_> {
    /// A file of the workspace, which counts as an input.
    fn read(&mut self, path: &Path) -> Result<Vec<u8>> {
        let bytes =
            fs::read(self.workspace.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        self.package.inputs.push((path.display().to_string(), sha256_of(&bytes)));
        Ok(bytes)
    }

    /// Adds one of the package's own files.
    fn own(&mut self, name: &str, path: &str, mode: Mode) -> Result<()> {
        let bytes = self.read(&Path::new(FILES).join(name))?;
        self.package.tree.add(path, mode, bytes);
        Ok(())
    }

    /// Adds a file that is the user's once installed.
    fn setting(&mut self, path: &str, bytes: Vec<u8>) {
        self.package.tree.add(path, Mode::Data, bytes);
        self.package.settings.push(path.to_owned());
    }

    /// What programs are started with: the device takes an unsigned bundle only where a file of its own says so.
    fn flags(&mut self, bundle: &Bundle) {
        let flags = if bundle.is_signed { "" } else { "--allow-unsigned" };
        let text = format!(
            "# Flags of every RepEdge program on this board. --allow-unsigned runs models that nobody has signed.\n\
             REPEDGE_FLAGS={flags}\n"
        );
        self.setting("etc/repedge/flags", text.into_bytes());
    }

    fn keys(&mut self, keys: &[PathBuf]) -> Result<()> {
        self.package.tree.add_folder("etc/repedge/keys");
        for key in keys {
            let bytes = fs::read(key).with_context(|| format!("cannot read the key {}", key.display()))?;
            let name = key.file_name().and_then(|name| name.to_str()).context("a key without a name")?;
            ensure!(name.ends_with(".pub"), "{name} does not end in .pub: only public keys go onto a board");
            self.package.inputs.push((name.to_owned(), sha256_of(&bytes)));
            self.setting(&format!("etc/repedge/keys/{name}"), bytes);
        }
        Ok(())
    }

    /// The version comes from everything else, so it is added last.
    fn finish(mut self) -> Package {
        let hash = sha256_of(format!("{}{:?}", self.package.tree.digest(), self.package.inputs).as_bytes());
        let version = format!("{}+{}", env!("CARGO_PKG_VERSION"), &hash[..HASH_DIGITS]);
        let text = format!("{version}\n").into_bytes();
        self.package.tree.add(&format!("{PACKAGE}/VERSION"), Mode::Data, text);
        self.package.version = version;
        self.package
    }
}

impl Package {
    fn empty() -> Self {
        Self {
            tree: Tree::default(),
            version: String::new(),
            settings: Vec::new(),
            scripts: Vec::new(),
            inputs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_board::programs::Program;
    use crate::cross::elf::Needs;

    fn composed(names: &[&str], model: &str, is_signed: bool, keys: &[PathBuf]) -> Package {
        let program = |name: &&str| Program {
            name: (*name).into(),
            bytes: name.as_bytes().to_vec(),
            needs: Needs::default(),
        };
        let programs = Programs {
            all: names.iter().map(program).collect(),
            debian_arch: "arm64",
            toolchain: String::new(),
            profile: String::new(),
        };
        let bundle = Bundle { bytes: model.into(), is_signed, source: "x.bundle".into() };
        let board = Board::find("rk3588").unwrap();
        compose(&Workspace::find().unwrap(), &board, &programs, &bundle, keys).unwrap()
    }

    fn text(package: &Package, path: &str) -> String {
        let (_, file) =
            package.tree.files().find(|(found, _)| *found == path).unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(file.bytes.clone()).unwrap()
    }

    #[test]
    fn a_package_holds_what_the_board_needs() {
        let package = composed(&["camera-demo", "self-test"], "model", false, &[]);
        assert_eq!(text(&package, "usr/lib/repedge/package/bin/self-test"), "self-test");
        assert_eq!(text(&package, "usr/lib/repedge/package/model.bundle"), "model");
        assert_eq!(text(&package, "usr/lib/repedge/package/VERSION"), format!("{}\n", package.version));
        let board: Board =
            serde_json::from_str(&text(&package, "usr/lib/repedge/package/board.json")).unwrap();
        board.validate("rk3588").unwrap();
        let service = text(&package, "usr/lib/systemd/system/repedge-camera-demo.service");
        assert!(service.contains("WatchdogSec=") && service.contains("User=repedge"), "{service}");
        for setting in &package.settings {
            assert!(text(&package, setting).starts_with('#'), "{setting} does not say what it is for");
        }
        assert_eq!(package.scripts.len(), 3);
    }

    #[test]
    fn the_version_follows_the_content() {
        let base = composed(&["camera-demo"], "model", false, &[]);
        assert_eq!(composed(&["camera-demo"], "model", false, &[]).version, base.version);
        for other in [
            composed(&["camera-demo"], "another model", false, &[]),
            composed(&["camera-demo", "self-test"], "model", false, &[]),
            composed(&["camera-demo"], "model", true, &[]),
        ] {
            assert_ne!(other.version, base.version);
        }
    }

    #[test]
    fn a_board_runs_unsigned_bundles_only_where_a_file_says_so() {
        let flags = |is_signed| text(&composed(&[], "model", is_signed, &[]), "etc/repedge/flags");
        assert!(flags(false).ends_with("\nREPEDGE_FLAGS=--allow-unsigned\n"));
        assert!(flags(true).ends_with("\nREPEDGE_FLAGS=\n"));
    }

    #[test]
    fn only_public_keys_go_onto_a_board() {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "# key").unwrap();
            path
        };
        let package = composed(&[], "model", true, &[key("ours.pub")]);
        assert_eq!(text(&package, "etc/repedge/keys/ours.pub"), "# key");
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs {
            all: Vec::new(),
            debian_arch: "arm64",
            toolchain: String::new(),
            profile: String::new(),
        };
        let bundle = Bundle { bytes: Vec::new(), is_signed: true, source: String::new() };
        let error = compose(&workspace, &board, &programs, &bundle, &[key("ours.key")]).unwrap_err();
        assert!(error.to_string().contains("only public keys"), "{error}");
    }
}
