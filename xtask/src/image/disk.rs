//! Puts boot loaders and partitions where a layout says, with genimage, and tells which bytes of the result matter.
//! A card is rarely blank, so what matters is what the tables, loaders and filesystems use, zeros included.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use boards::Layout;

use super::ext4::{self, BLOCK_BYTES, Ext4, Reader};
use super::parts::Parts;
use crate::system;

const MIB: u64 = 1 << 20;
/// Sectors of a protective MBR, a GPT header and its 128 entries; the backup at the end has one less.
const GPT_SECTORS: u64 = 34;

/// A disk image that still lies in the scratch folder.
#[derive(Debug)]
pub struct Made {
    /// The image.
    pub file: PathBuf,
    /// Bytes of it that matter: start and length.
    pub spans: Vec<(u64, u64)>,
}

/// Makes the image of a disk.
///
/// # Errors
/// When a part does not fit into its place, or a tool is missing or fails.
pub fn make(board: &str, layout: Layout, parts: &Parts, scratch: &Path) -> Result<Made> {
    expect_room(layout, parts)?;
    let sector = |count: u64| count * Layout::SECTOR_BYTES;
    let boot = Ext4 {
        label: "boot",
        uuid: parts.boot_uuid,
        bytes: layout.boot_mib * MIB,
        reader: Reader::BootLoader,
    };
    let root_bytes = match parts.root_mib {
        Some(mib) => mib.checked_mul(MIB).context("--root-mib is beyond any disk")?,
        None => ext4::comfortable_size(&parts.root)?,
    };
    let root = Ext4 { label: "root", uuid: parts.root_uuid, bytes: root_bytes, reader: Reader::Kernel };
    let root_start = sector(layout.boot_sector) + boot.bytes;

    let mut config = Config::new(board, parts);
    let mut spans = vec![(0, sector(GPT_SECTORS))];
    for loader in &parts.loaders {
        fs::write(scratch.join(loader.name), &loader.bytes)?;
        config.loader(loader.name, sector(loader.sector));
        spans.push((sector(loader.sector), loader.bytes.len() as u64));
    }
    for (filesystem, tree, start) in
        [(boot, &parts.boot, sector(layout.boot_sector)), (root, &parts.root, root_start)]
    {
        let file = scratch.join(format!("{}.ext4", filesystem.label));
        filesystem.write(tree, &file, scratch)?;
        let used = ext4::used_blocks(&file)?;
        spans.extend(used.iter().map(|blocks| {
            (start + blocks.first * BLOCK_BYTES, (blocks.last + 1 - blocks.first) * BLOCK_BYTES)
        }));
        config.partition(&filesystem, start);
    }
    let file = config.run(scratch)?;
    let image_bytes = file.metadata()?.len();
    let backup = sector(GPT_SECTORS - 1);
    ensure!(image_bytes >= root_start + root.bytes + backup, "genimage left no room for the backup table");
    spans.push((image_bytes - backup, backup));
    Ok(Made { file, spans })
}

/// Every loader must end where the next thing starts.
fn expect_room(layout: Layout, parts: &Parts) -> Result<()> {
    let ends = parts.loaders.iter().skip(1).map(|loader| (loader.name, loader.sector));
    let ends = ends.chain([("the boot partition", layout.boot_sector)]);
    for (loader, (next, end)) in parts.loaders.iter().zip(ends) {
        let room = end.saturating_sub(loader.sector) * Layout::SECTOR_BYTES;
        ensure!(
            loader.bytes.len() as u64 <= room,
            "{} has {} bytes and would run into {next} at sector {end}: there is room for {room} from sector {} on",
            loader.name,
            loader.bytes.len(),
            loader.sector
        );
    }
    Ok(())
}

/// A configuration of genimage.
struct Config<'a> {
    text: String,
    board: &'a str,
}

impl<'a> Config<'a> {
    fn new(board: &'a str, parts: &Parts) -> Self {
        let text = format!(
            "image \"{board}.img\" {{\n\thdimage {{\n\t\tpartition-table-type = \"gpt\"\n\t\tdisk-uuid = \"{}\"\n\t}}\n",
            parts.disk_uuid
        );
        Self { text, board }
    }

    fn loader(&mut self, name: &str, start: u64) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "\tpartition {name} {{\n\t\tin-partition-table = false\n\t\toffset = {start}\n\t\timage = \"{name}\"\n\t}}"
        );
    }

    fn partition(&mut self, filesystem: &Ext4, start: u64) {
        let Ext4 { label, uuid, bytes, reader } = filesystem;
        let bootable = if *reader == Reader::BootLoader { "\t\tbootable = true\n" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "\tpartition {label} {{\n\t\tpartition-type-uuid = \"L\"\n\t\tpartition-uuid = \"{uuid}\"\n{bootable}\
             \t\toffset = {start}\n\t\tsize = {bytes}\n\t\timage = \"{label}.ext4\"\n\t}}"
        );
    }

    /// Runs genimage in the scratch folder.
    fn run(mut self, scratch: &Path) -> Result<PathBuf> {
        self.text.push_str("}\n");
        let config = scratch.join("genimage.cfg");
        fs::write(&config, &self.text)?;
        let folder = |name: &str| {
            let folder = scratch.join(name);
            fs::create_dir(&folder).map(|()| folder)
        };
        let (empty, out) = (folder("empty")?, folder("out")?);
        let mut command = Command::new(system::program("genimage")?);
        command.arg("--config").arg(&config).arg("--rootpath").arg(empty).arg("--outputpath").arg(&out);
        command.arg("--inputpath").arg(scratch).arg("--tmppath").arg(scratch.join("tmp"));
        // It makes its scratch folder below the current one where it finds no other.
        let output = command.current_dir(scratch).output().context("cannot start genimage")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "genimage cannot put the disk together: {}", said.trim());
        let file = out.join(format!("{}.img", self.board));
        File::open(&file).with_context(|| format!("genimage wrote no {}", file.display()))?;
        Ok(file)
    }
}
