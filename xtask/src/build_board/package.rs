//! What lies where on a board: programs, model, board facts, service, settings, keys. Knows no archive format.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boards::Board;

use super::model::Bundle;
use super::notice;
use super::programs::{self, Programs};
use super::version;
use crate::tree::{Content, Node, Tree};
use crate::trust::name_of;
use crate::wheels::sha256_of;
use crate::workspace::Workspace;

/// Where the package's own files lie in the workspace.
const FILES: &str = "examples/package";
/// The settings of the service.
const SETTINGS: &str = "examples/camera-demo/camera-demo.toml";
/// Where the package lies on a board; `activate` copies it from there.
const PACKAGE: &str = "usr/lib/repedge/package";
/// Where the device's owner puts keys, and what says so there: a package with an empty folder cannot be packed.
const OWNERS_KEYS: &str = "etc/repedge/keys/README";
const ABOUT_KEYS: &str = "\
# The public keys (*.pub) that this device trusts. While there is one here, they alone count: those that a package brings do not.
# `cargo xtask keys generate` makes a pair; the private key stays on the machine that signs.
";
/// Marks a version whose bundle nobody signed, so that a board can say so. It allows nothing: that is the board's to say.
const UNSIGNED: &str = "usr/lib/repedge/package/unsigned";
/// The bundle's security version, for who must know it before anything of the package is installed.
const SECURITY_VERSION: &str = "usr/lib/repedge/package/security-version";
/// Where Debian's packages say what they are under; the notice of what is linked lies beside it.
const DOCS: &str = "usr/share/doc/repedge";
/// The license of what is ours.
const LICENSE: &str = "LICENSE";
/// The program that runs as a service.
const SERVICE: &str = "camera-demo";
/// Modes: everybody reads, root writes.
const DATA: u32 = 0o644;
const PROGRAM: u32 = 0o755;

/// A package.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its files.
    pub tree: Tree,
    /// As [`version::of`] puts it together.
    pub version: String,
    /// Files that are the user's once installed.
    pub settings: Vec<String>,
    /// Scripts of the package manager.
    pub scripts: Vec<(&'static str, Vec<u8>)>,
    /// Name and SHA-256 of each file that went in as it was.
    pub inputs: Vec<(String, String)>,
}

/// Puts the package together, dated `date_s`.
///
/// # Errors
/// When a file cannot be read.
pub fn compose(
    workspace: &Workspace,
    board: &Board,
    programs: &Programs,
    bundle: &Bundle,
    keys: &[PathBuf],
    date_s: u64,
) -> Result<Package> {
    let mut composer = Composer { workspace, package: Package::empty() };
    composer.add(&format!("{PACKAGE}/bin/{}", programs::FILE), PROGRAM, programs.bytes.clone())?;
    for name in &programs.names {
        composer.package.tree.put(&format!("{PACKAGE}/bin/{name}"), Node::symlink(programs::FILE))?;
    }
    let facts = serde_json::to_string_pretty(board).context("cannot write the board as JSON")?;
    composer.add(&format!("{PACKAGE}/board.json"), DATA, format!("{facts}\n").into_bytes())?;
    if !board.compatible.is_empty() {
        let names = board.compatible.join("\n");
        composer.add(&format!("{PACKAGE}/compatible"), DATA, format!("{names}\n").into_bytes())?;
    }
    composer.package.inputs.push((bundle.source.clone(), sha256_of(&bundle.bytes)));
    composer.add(&format!("{PACKAGE}/model.bundle"), DATA, bundle.bytes.clone())?;
    composer.add(SECURITY_VERSION, DATA, format!("{}\n", bundle.security_version).into_bytes())?;
    composer.own("activate", &format!("{PACKAGE}/activate"), PROGRAM)?;
    composer.own("run", &format!("{PACKAGE}/run"), PROGRAM)?;
    composer.own("60-repedge.rules", "usr/lib/udev/rules.d/60-repedge.rules", DATA)?;
    composer.own("repedge.sysusers", "usr/lib/sysusers.d/repedge.conf", DATA)?;
    if programs.has(SERVICE) {
        let service = "repedge-camera-demo.service";
        composer.own(service, &format!("usr/lib/systemd/system/{service}"), DATA)?;
        let settings = composer.read(Path::new(SETTINGS))?;
        composer.setting("etc/repedge/camera-demo.toml", settings)?;
    }
    let license = composer.read(Path::new(LICENSE))?;
    composer.add(&format!("{DOCS}/copyright"), DATA, license)?;
    composer.add(&format!("{DOCS}/{}", notice::FILE), DATA, programs.notice.clone().into_bytes())?;
    if !bundle.is_signed {
        composer.add(UNSIGNED, DATA, b"Nobody signed the bundle of this version.\n".to_vec())?;
    }
    composer.keys(keys)?;
    for script in ["postinst", "prerm", "postrm"] {
        let bytes = composer.read(&Path::new(FILES).join(script))?;
        composer.package.scripts.push((script, bytes));
    }
    composer.finish(date_s)
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

    fn add(&mut self, path: &str, mode: u32, bytes: Vec<u8>) -> Result<()> {
        self.package.tree.put(path, Node::file(Content::Bytes(bytes), mode))
    }

    /// Adds one of the package's own files.
    fn own(&mut self, name: &str, path: &str, mode: u32) -> Result<()> {
        let bytes = self.read(&Path::new(FILES).join(name))?;
        self.add(path, mode, bytes)
    }

    /// Adds a file that is the user's once installed.
    fn setting(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        self.package.settings.push(path.to_owned());
        self.add(path, DATA, bytes)
    }

    /// The keys that this version verifies with, and the folder of those that are the device's own.
    fn keys(&mut self, keys: &[PathBuf]) -> Result<()> {
        self.setting(OWNERS_KEYS, ABOUT_KEYS.into())?;
        for key in keys {
            let bytes = fs::read(key).with_context(|| format!("cannot read the key {}", key.display()))?;
            let name = name_of(key)?;
            self.package.inputs.push((name.to_owned(), sha256_of(&bytes)));
            self.add(&format!("{PACKAGE}/keys/{name}"), DATA, bytes)?;
        }
        Ok(())
    }

    /// The version comes from everything else, so it is added last.
    fn finish(mut self, date_s: u64) -> Result<Package> {
        let Package { tree, inputs, .. } = &self.package;
        let hash = sha256_of(format!("{:?}{inputs:?}", tree.digest()?).as_bytes());
        let version = version::of(date_s, &hash);
        let text = format!("{version}\n").into_bytes();
        self.add(&format!("{PACKAGE}/VERSION"), DATA, text)?;
        self.package.version = version;
        Ok(self.package)
    }
}

impl Package {
    /// One without content.
    pub fn empty() -> Self {
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
    use crate::tree::Kind;

    fn composed(names: &[&str], model: &str, is_signed: bool, keys: &[PathBuf]) -> Package {
        let programs = Programs::of(names, b"programs".into());
        let bundle =
            Bundle { bytes: model.into(), is_signed, security_version: 3, source: "x.bundle".into() };
        let board = Board::find("rk3588").unwrap();
        compose(&Workspace::find().unwrap(), &board, &programs, &bundle, keys, 1).unwrap()
    }

    fn text(package: &Package, path: &str) -> String {
        match package.tree.get(path).map(|node| &node.kind) {
            Some(Kind::File(content)) => String::from_utf8(content.read().unwrap().into_owned()).unwrap(),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn a_package_holds_what_the_board_needs() {
        let package = composed(&["camera-demo", "self-test"], "model", false, &[]);
        assert_eq!(text(&package, "usr/lib/repedge/package/bin/board-programs"), "programs");
        let self_test = package.tree.get("usr/lib/repedge/package/bin/self-test");
        assert_eq!(self_test, Some(&Node::symlink("board-programs")));
        assert_eq!(text(&package, "usr/lib/repedge/package/model.bundle"), "model");
        assert_eq!(text(&package, "usr/lib/repedge/package/VERSION"), format!("{}\n", package.version));
        assert_eq!(text(&package, "usr/lib/repedge/package/security-version"), "3\n");
        let board: Board =
            serde_json::from_str(&text(&package, "usr/lib/repedge/package/board.json")).unwrap();
        board.validate("rk3588").unwrap();
        let service = text(&package, "usr/lib/systemd/system/repedge-camera-demo.service");
        assert!(service.contains("WatchdogSec=") && service.contains("User=repedge"), "{service}");
        assert!(service.contains("StartLimitIntervalSec=0"), "it gives up: {service}");
        for setting in &package.settings {
            assert!(text(&package, setting).starts_with('#'), "{setting} does not say what it is for");
        }
        assert_eq!(package.scripts.len(), 3);
        assert_eq!(text(&package, "usr/share/doc/repedge/THIRD-PARTY"), "licenses of others\n");
        assert!(text(&package, "usr/share/doc/repedge/copyright").contains("MIT"));
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

    /// Whether what nobody signed runs is the board's to say: a package has the scripts that ask, and never the answer.
    #[test]
    fn no_package_allows_what_nobody_signed() {
        let package = composed(&["camera-demo", "self-test"], "model", false, &[]);
        let speaks_of_it = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace('_', "-");
            text.contains("allow-unsigned")
        };
        let content = |node: &Node| match &node.kind {
            Kind::File(content) => content.read().unwrap().into_owned(),
            _ => Vec::new(),
        };
        let found = package.tree.nodes().filter(|(_, node)| speaks_of_it(&content(node)));
        let service = "usr/lib/systemd/system/repedge-camera-demo.service";
        let asking = [&format!("{PACKAGE}/activate"), &format!("{PACKAGE}/run"), service];
        assert_eq!(found.map(|(path, _)| path).collect::<Vec<_>>(), asking);
        assert!(package.tree.nodes().all(|(path, _)| !speaks_of_it(path.as_bytes())));
        for (name, script) in &package.scripts {
            assert!(!speaks_of_it(script), "{name}");
        }
    }

    #[test]
    fn a_package_that_nobody_signed_differs_by_its_mark_alone() {
        let paths = |package: &Package| {
            let nodes = package.tree.nodes().filter(|(path, _)| !path.ends_with("/VERSION"));
            nodes.map(|(path, node)| (path.to_owned(), node.clone())).collect::<Vec<_>>()
        };
        let signed = composed(&["camera-demo"], "model", true, &[]);
        let unsigned = composed(&["camera-demo"], "model", false, &[]);
        assert!(text(&unsigned, UNSIGNED).starts_with("Nobody signed"));
        let mut others = paths(&unsigned);
        others.retain(|(path, _)| path != UNSIGNED);
        assert_eq!(others, paths(&signed));
    }

    #[test]
    fn a_version_runs_as_the_board_says_with_its_own_keys() {
        let package = composed(&["camera-demo"], "model", true, &[]);
        assert_eq!(package.settings, ["etc/repedge/camera-demo.toml", "etc/repedge/keys/README"]);
        let current = "/var/lib/repedge/current";
        let service = text(&package, "usr/lib/systemd/system/repedge-camera-demo.service");
        assert!(service.contains(&format!("\nExecStart={current}/run camera-demo --config ")), "{service}");
        let settings = text(&package, "etc/repedge/camera-demo.toml");
        assert!(settings.contains(&format!("\nkeys = \"{current}/keys\"\n")), "{settings}");
    }

    #[test]
    fn the_user_is_in_the_same_groups_whoever_makes_it() {
        let package = composed(&["self-test"], "model", true, &[]);
        let made_by_systemd = text(&package, "usr/lib/sysusers.d/repedge.conf");
        let mut by_systemd: Vec<_> =
            made_by_systemd.lines().filter_map(|line| line.strip_prefix("m repedge ")).collect();
        let (_, script) = package.scripts.iter().find(|(name, _)| *name == "postinst").unwrap();
        let script = String::from_utf8(script.clone()).unwrap();
        let listed = script.lines().find_map(|line| line.strip_prefix("for group in ")).unwrap();
        let mut by_script: Vec<_> = listed.strip_suffix("; do").unwrap().split(' ').collect();
        by_systemd.sort_unstable();
        by_script.sort_unstable();
        assert_eq!(by_systemd, by_script);
    }

    #[test]
    fn a_package_says_for_which_device_trees_it_is() {
        let package = composed(&[], "model", true, &[]);
        assert_eq!(text(&package, "usr/lib/repedge/package/compatible"), "rockchip,rk3588\n");
    }

    /// Folders of the settings that the service may write to, by what its unit says.
    #[test]
    fn the_service_may_write_where_its_settings_propose() {
        let package = composed(&["camera-demo"], "model", false, &[]);
        let service = text(&package, "usr/lib/systemd/system/repedge-camera-demo.service");
        let settings = text(&package, "etc/repedge/camera-demo.toml");
        let proposed = |key: &str| {
            let value = settings.lines().find_map(|line| line.strip_prefix(&format!("# {key} = \"")));
            PathBuf::from(value.unwrap().trim_end_matches('"'))
        };
        for (place, kind, root) in [
            (proposed("folder"), "StateDirectory", "/var/lib"),
            (proposed("report").parent().unwrap().to_owned(), "RuntimeDirectory", "/run"),
        ] {
            let folder = place.strip_prefix(root).unwrap().display();
            assert!(service.contains(&format!("\n{kind}={folder}\n")), "{}: {service}", place.display());
        }
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
        assert_eq!(text(&package, "usr/lib/repedge/package/keys/ours.pub"), "# key");
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs::of(&[], Vec::new());
        let bundle =
            Bundle { bytes: Vec::new(), is_signed: true, security_version: 0, source: String::new() };
        let error = compose(&workspace, &board, &programs, &bundle, &[key("ours.key")], 1).unwrap_err();
        assert!(error.to_string().contains("only public keys"), "{error}");
    }
}
