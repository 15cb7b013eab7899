//! Disk images for boards, from the parts that the user's board support package has and our package.
//! Making one needs no root and mounts nothing, and it never pretends: parts that are missing are listed, not left out.

pub mod archive;
mod disk;
mod ext4;
#[cfg(test)]
mod ext4_tests;
mod identity;
mod parts;
mod staging;
#[cfg(test)]
mod tests;
mod trust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boards::{Board, Method};

use crate::bmap::{self, Bmap};
use crate::system::{E2FSPROGS, FAKEROOT, GENIMAGE, Need};
pub use parts::Sources;

/// What disk images are made with.
pub const TOOLS: [Need; 3] = [GENIMAGE, E2FSPROGS, FAKEROOT];

/// What a disk image is for. Both are laid out as the board's file says; they differ in how they get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Medium {
    /// A card or stick, written with `flash --sd`.
    Sd,
    /// The board's own memory, written with `flash --usb`.
    Emmc,
}

/// A disk image that was written.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image.
    pub image: PathBuf,
    /// Its block map.
    pub bmap: PathBuf,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// Bytes of it that matter, and that flashing writes.
    pub mapped_bytes: u64,
}

/// Checks that a board takes an image for this medium.
///
/// # Errors
/// When it does not; says which ways its board file lists.
pub fn expect_medium(board: &Board, medium: Medium) -> Result<()> {
    let method = match medium {
        Medium::Sd => Method::Sd,
        Medium::Emmc => Method::Usb,
    };
    ensure!(
        board.flash.methods.contains(&method),
        "{} takes no image for this medium: boards/{}/board.toml lists the methods {:?}",
        board.name,
        board.name,
        board.flash.methods
    );
    Ok(())
}

/// Builds `BOARD.img` and `BOARD.bmap` in `out`, with the package's file tree in the root filesystem where one is given.
///
/// # Errors
/// When the board takes no disk image, parts are missing or do not fit, or a tool is missing or fails.
pub fn build(board: &Board, sources: &Sources, package: Option<&Path>, out: &Path) -> Result<Built> {
    let layout = sources.layout_of(board)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    // In the same folder, so that the image can be renamed into place and holes stay holes.
    let scratch = tempfile::Builder::new().prefix(".image-").tempdir_in(out)?;
    let parts = sources.read(board, package, scratch.path())?;
    let made = disk::make(&board.name, layout, &parts, scratch.path())?;
    let image = out.join(format!("{}.img", board.name));
    let bmap = bmap::path_beside(&image);
    let map = Bmap::of(&made.file, &made.spans)?.for_board(&board.name);
    let beside = scratch.path().join("map");
    std::fs::write(&beside, map.to_xml())?;
    for file in [&made.file, &beside] {
        std::fs::File::open(file)?.sync_all()?;
    }
    // A map without its image is noticed by its size or digests, so this order leaves nothing wrong behind.
    std::fs::rename(&beside, &bmap)?;
    std::fs::rename(&made.file, &image)?;
    Ok(Built { image, bmap, image_bytes: map.image_bytes(), mapped_bytes: map.mapped_bytes() })
}

impl Built {
    /// Says what was made and how large it is.
    pub fn tell(&self) {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        eprintln!(
            "{} has {} MiB, of which {} says that {} matter",
            name(&self.image),
            mib(self.image_bytes),
            name(&self.bmap),
            mib(self.mapped_bytes)
        );
    }
}
