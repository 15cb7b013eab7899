//! The parts of a disk image: what the user gives, what the package adds, and what is missing.
//! Where a part lies on the disk is the board file's to say.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use boards::{Board, Layout};

use super::archive;
use super::identity::{ContentDigest, Uuid};
use super::trust::{self, ALLOW_UNSIGNED, BUNDLE, PACKAGE_KEYS, SETTINGS, device_keys};
use crate::tree::{Content, Node, Tree};
use crate::trust::name_of;

/// Where the package lies on a device.
const PACKAGE: &str = "usr/lib/repedge/package";
/// Where versions that were put into service lie.
const STATE: &str = "var/lib/repedge";
const UNIT: &str = "repedge-camera-demo.service";

/// The parts that come from the user's board support package; a command that takes them has an `--image`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Parts of a disk image")]
pub struct Sources {
    /// The root filesystem: a folder, or a tar or tar.gz (owners and devices are kept from a tar).
    #[arg(long, requires = "image", value_name = "DIR|TAR")]
    pub rootfs: Option<PathBuf>,
    /// The Linux kernel, as U-Boot's `kernel` line takes it.
    #[arg(long, requires = "image", value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The device tree of the board.
    #[arg(long, requires = "image", value_name = "FILE")]
    pub dtb: Option<PathBuf>,
    /// An initramfs, where the kernel needs one.
    #[arg(long, requires = "image", value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// The first boot loader, where the board's layout has a place for it.
    #[arg(long, requires = "image", value_name = "FILE")]
    pub idbloader: Option<PathBuf>,
    /// U-Boot (u-boot.itb), where the board's layout has a place for it.
    #[arg(long, requires = "image", value_name = "FILE")]
    pub uboot: Option<PathBuf>,
    /// Further arguments for the kernel, such as `console=ttyS2,1500000`.
    #[arg(long, requires = "image", value_name = "TEXT")]
    pub append: Option<String>,
    /// Size of the root partition; by default what its files need, with a quarter and 64 MiB to spare.
    #[arg(long, requires = "image", value_name = "MIB")]
    pub root_mib: Option<u64>,
    /// Allow boards that boot the image to run what nobody signed: it gets the file /etc/repedge/allow-unsigned.
    #[arg(long, requires = "image")]
    pub allow_unsigned: bool,
}

/// The parts of an image, read.
#[derive(Debug)]
pub struct Parts {
    /// Boot loaders outside of partitions.
    pub loaders: Vec<Loader>,
    /// Content of the boot partition.
    pub boot: Tree,
    /// Content of the root partition.
    pub root: Tree,
    /// Size of the root partition, where the user chose one.
    pub root_mib: Option<u64>,
    /// The disk's identity.
    pub disk_uuid: Uuid,
    /// The boot partition's identity.
    pub boot_uuid: Uuid,
    /// The root partition's identity, which the kernel is told.
    pub root_uuid: Uuid,
}

/// A boot loader that lies at a sector of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// What it is called.
    pub name: &'static str,
    /// Its first sector.
    pub sector: u64,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Sources {
    /// Whether none of the parts that every board needs is given.
    pub fn are_absent(&self) -> bool {
        [&self.rootfs, &self.kernel, &self.initrd].iter().all(|part| part.is_none())
    }

    /// Each part that is given, by the name of its argument.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let parts = [
            ("--rootfs", &self.rootfs),
            ("--kernel", &self.kernel),
            ("--dtb", &self.dtb),
            ("--initrd", &self.initrd),
            ("--idbloader", &self.idbloader),
            ("--uboot", &self.uboot),
        ];
        parts.into_iter().filter_map(|(name, part)| Some((name, part.as_deref()?)))
    }

    /// The layout of a board's disk, if these sources have every part that it needs.
    ///
    /// # Errors
    /// When the board has no layout, or parts are missing or superfluous; lists all of them.
    pub fn layout_of(&self, board: &Board) -> Result<Layout> {
        let layout = board.flash.layout.with_context(|| {
            format!(
                "boards/{}/board.toml has no [flash.layout]: this board takes no disk image of ours (its methods: {:?})",
                board.name, board.flash.methods
            )
        })?;
        let has_loader = layout.idbloader_sector.is_some() || layout.uboot_sector.is_some();
        let needs = [
            ("--rootfs DIR|TAR", true, &self.rootfs),
            ("--kernel FILE", true, &self.kernel),
            // Who has a boot loader of its own is given a device tree; machines that QEMU makes bring theirs.
            ("--dtb FILE", has_loader, &self.dtb),
            ("--idbloader FILE", layout.idbloader_sector.is_some(), &self.idbloader),
            ("--uboot FILE", layout.uboot_sector.is_some(), &self.uboot),
        ];
        let missing: Vec<_> = needs
            .iter()
            .filter(|(_, needed, part)| *needed && part.is_none())
            .map(|(name, ..)| *name)
            .collect();
        ensure!(
            missing.is_empty(),
            "an image for {} that boots also needs {}\n  help: they come from the board's support package; \
             `cargo xtask flash {} --ssh USER@HOST` installs onto the vendor's image instead",
            board.name,
            missing.join(", "),
            board.name
        );
        let loaders = [(layout.idbloader_sector, &self.idbloader), (layout.uboot_sector, &self.uboot)];
        ensure!(
            loaders.iter().all(|(sector, part)| sector.is_some() || part.is_none()),
            "the layout of {} has no place for an --idbloader or --uboot: its machine brings its own",
            board.name
        );
        Ok(layout)
    }

    /// Reads the parts, with the package's files laid over the root filesystem and put into service there.
    ///
    /// # Errors
    /// When a part cannot be read, or the package's tree is not whole.
    pub fn read(&self, board: &Board, package: Option<&Path>, scratch: &Path) -> Result<Parts> {
        let layout = self.layout_of(board)?;
        let mut root = self.read_rootfs(scratch)?;
        if self.allow_unsigned {
            root.put(ALLOW_UNSIGNED, Node::file(Content::Bytes(Vec::new()), 0o644))?;
        }
        if let Some(package) = package {
            let mut ours = Tree::default();
            ours.add_folder(package)?;
            root.overlay(&ours).context("the package does not fit over the root filesystem")?;
            trust::expect_runs(&root)?;
            put_into_service(&mut root, package)?;
        }
        let root_uuid = Uuid::of("root partition", &ContentDigest::of([&root])?);
        let boot = self.boot_tree(&board.name, root_uuid)?;
        let loaders: Vec<_> = [
            ("idbloader", layout.idbloader_sector, &self.idbloader),
            ("u-boot", layout.uboot_sector, &self.uboot),
        ]
        .into_iter()
        .filter_map(|(name, sector, file)| Some((name, sector?, file.as_deref()?)))
        .map(|(name, sector, file)| Ok(Loader { name, sector, bytes: read(file)? }))
        .collect::<Result<_>>()?;
        let content = ContentDigest::of([&root, &boot, &loaders_tree(&loaders)?])?;
        Ok(Parts {
            loaders,
            boot,
            root,
            root_mib: self.root_mib,
            disk_uuid: Uuid::of("disk", &content),
            boot_uuid: Uuid::of("boot partition", &content),
            root_uuid,
        })
    }

    /// Checks, before anything is built, that boards will run a bundle whose package brings these keys; without one the bundle
    /// is about to be made, and nobody signs it.
    ///
    /// # Errors
    /// Says why they would run nothing, and every way out; when the root filesystem cannot be read.
    pub fn expect_runs(&self, bundle: Option<&Path>, keys: &[PathBuf]) -> Result<()> {
        if self.allow_unsigned {
            return Ok(());
        }
        let scratch = tempfile::tempdir().context("cannot make a folder for temporary files")?;
        let mut root = match &self.rootfs {
            Some(source) => read_tree(source, scratch.path(), |path| path.starts_with(SETTINGS))?,
            None => Tree::default(),
        };
        let file = |path: &Path| Node::file(Content::Path(path.to_owned()), 0o644);
        for key in keys {
            root.put(&format!("{PACKAGE_KEYS}{}", name_of(key)?), file(key))?;
        }
        if let Some(bundle) = bundle {
            root.put(BUNDLE, file(bundle))?;
        }
        trust::expect_runs(&root)
    }

    fn read_rootfs(&self, scratch: &Path) -> Result<Tree> {
        let source = self.rootfs.as_deref().context("no --rootfs")?;
        let tree = read_tree(source, scratch, |_| true)?;
        ensure!(tree.nodes().next().is_some(), "{} is empty: no root filesystem", source.display());
        Ok(tree)
    }

    /// The boot partition: kernel, device tree, and the file by which U-Boot finds them.
    fn boot_tree(&self, board: &str, root: Uuid) -> Result<Tree> {
        let mut tree = Tree::default();
        let mut entry = format!("default {board}\ntimeout 10\n\nlabel {board}\n");
        let parts = [
            ("kernel", "kernel", &self.kernel),
            ("fdt", "board.dtb", &self.dtb),
            ("initrd", "initrd", &self.initrd),
        ];
        for (key, name, source) in parts {
            let Some(source) = source else { continue };
            read(source).map(drop)?;
            tree.put(name, Node::file(Content::Path(source.clone()), 0o644))?;
            entry.push_str(&format!("\t{key} /{name}\n"));
        }
        let more = self.append.as_deref().unwrap_or_default();
        ensure!(!more.contains(['\n', '\r']), "--append {more:?} has more than one line");
        let arguments = format!("root=PARTUUID={root} rootwait rw {more}");
        entry.push_str(&format!("\tappend {}\n", arguments.trim_end()));
        tree.put("extlinux/extlinux.conf", Node::file(Content::Bytes(entry.into()), 0o644))?;
        Ok(tree)
    }
}

/// A folder, or what is wanted of a tar, whose contents go into `scratch`.
fn read_tree(source: &Path, scratch: &Path, wants: fn(&str) -> bool) -> Result<Tree> {
    if source.is_dir() {
        let mut tree = Tree::default();
        tree.add_folder(source)?;
        return Ok(tree);
    }
    let spool = scratch.join("rootfs");
    fs::create_dir(&spool)?;
    archive::read(source, &spool, wants)
}

/// Leaves the root filesystem as the package's `activate` leaves a device: nothing older is there to go back to, and no
/// self-test has run; the board's first one is the user's, over ssh or by hand.
fn put_into_service(root: &mut Tree, package: &Path) -> Result<()> {
    let file = package.join(PACKAGE).join("VERSION");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = text.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | '_');
    if version.is_empty() || !version.chars().all(is_plain) {
        bail!("{} says {version:?}, expected one plain version", file.display());
    }
    let folder = format!("{STATE}/versions/{version}");
    root.copy(PACKAGE, &folder)?;
    let keys = device_keys(root);
    // As on the board itself: a package cannot vouch for itself where the device has keys of its own.
    if !keys.is_empty() {
        root.remove_below(&format!("{folder}/keys"));
    }
    for (name, key) in keys {
        root.put(&format!("{folder}/keys/device-{name}"), key)?;
    }
    root.put(&format!("{STATE}/current"), Node::symlink(format!("versions/{version}")))?;
    let unit = format!("usr/lib/systemd/system/{UNIT}");
    if root.get(&unit).is_some() {
        let wanted = format!("etc/systemd/system/multi-user.target.wants/{UNIT}");
        root.put(&wanted, Node::symlink(format!("/{unit}")))?;
    }
    Ok(())
}

fn loaders_tree(loaders: &[Loader]) -> Result<Tree> {
    let mut tree = Tree::default();
    for loader in loaders {
        tree.put(loader.name, Node::file(Content::Bytes(loader.bytes.clone()), 0o644))?;
    }
    Ok(tree)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(!bytes.is_empty(), "{} is empty", file.display());
    Ok(bytes)
}
