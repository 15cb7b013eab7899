//! Reads a tar archive into a tree. Contents go into numbered files of a spool folder, so no name in the archive ever
//! becomes a path of the host.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use tar::EntryType;

use crate::tree::{Content, Device, Kind, Node, Tree};

/// Reads of an archive what `wants` its path; gzip is recognized by its first bytes.
///
/// # Errors
/// When it is no tar archive, or a name in it leads elsewhere.
pub fn read(archive: &Path, spool: &Path, wants: fn(&str) -> bool) -> Result<Tree> {
    let open = || File::open(archive).with_context(|| format!("cannot open {}", archive.display()));
    let mut magic = Vec::new();
    open()?.take(2).read_to_end(&mut magic)?;
    let file = io::BufReader::new(open()?);
    let tree = if magic == [0x1f, 0x8b] {
        read_entries(flate2::read::MultiGzDecoder::new(file), spool, wants)
    } else {
        read_entries(file, spool, wants)
    };
    tree.with_context(|| format!("cannot read {} as tar or tar.gz", archive.display()))
}

fn read_entries(input: impl Read, spool: &Path, wants: fn(&str) -> bool) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut archive = tar::Archive::new(input);
    for (at, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let path = plain(&entry.path_bytes())?;
        if path.is_empty() || !wants(&path) {
            continue;
        }
        let header = entry.header();
        let (mode, uid, gid) = (
            header.mode()? & 0o7777,
            owner(&header.as_old().uid, || header.uid())?,
            owner(&header.as_old().gid, || header.gid())?,
        );
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let file = spool.join(format!("{at:08}"));
                io::copy(&mut entry, &mut File::create(&file)?)?;
                Kind::File(Content::Path(file))
            }
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(text(&link_of(&entry)?)?),
            EntryType::Link => Kind::HardLink(plain(&link_of(&entry)?)?),
            EntryType::Char => Kind::Device(device(header, Device::Character)?),
            EntryType::Block => Kind::Device(device(header, Device::Block)?),
            EntryType::Fifo => Kind::Device(Device::Pipe),
            EntryType::XGlobalHeader => continue,
            other => bail!("{path} is of a kind that no filesystem has: {other:?}"),
        };
        tree.put(&path, Node { kind, mode, uid, gid })?;
    }
    Ok(tree)
}

fn link_of(entry: &tar::Entry<impl Read>) -> Result<Vec<u8>> {
    Ok(entry.link_name_bytes().context("a link that points nowhere")?.into_owned())
}

fn device(header: &tar::Header, kind: fn(u32, u32) -> Device) -> Result<Device> {
    let number = |number: Option<u32>| number.context("a device without a number");
    Ok(kind(number(header.device_major()?)?, number(header.device_minor()?)?))
}

/// An owner: root where the field is empty, as cargo-deb leaves it and dpkg reads it.
fn owner(field: &[u8], number: impl FnOnce() -> io::Result<u64>) -> Result<u32> {
    if field.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let number = number()?;
    u32::try_from(number).with_context(|| format!("owner {number} is beyond 32 bits"))
}

/// The path below the root that a name in an archive stands for; empty for the root itself.
fn plain(name: &[u8]) -> Result<String> {
    let name = text(name)?;
    let names = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    Ok(names.collect::<Vec<_>>().join("/"))
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes);
    Ok(text.with_context(|| format!("{:?} is not UTF-8", String::from_utf8_lossy(bytes)))?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn header(kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        header
    }

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().unwrap()
    }

    fn read_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<Tree>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.tar"), bytes).unwrap();
        let tree = read(&folder.path().join("in.tar"), folder.path(), |_| true);
        (folder, tree)
    }

    #[test]
    fn kinds_modes_and_owners_are_kept() {
        let bytes = archive(|tar| {
            tar.append_data(&mut header(EntryType::Directory, 0), "./", io::empty()).unwrap();
            tar.append_data(&mut header(EntryType::Regular, 2), "./bin/su", &b"su"[..]).unwrap();
            tar.append_link(&mut header(EntryType::Link, 0), "./bin/su2", "./bin/su").unwrap();
            tar.append_link(&mut header(EntryType::Symlink, 0), "./sh", "bin/../bin/su").unwrap();
            let mut null = header(EntryType::Char, 0);
            null.set_device_major(1).unwrap();
            null.set_device_minor(3).unwrap();
            tar.append_data(&mut null, "./dev/null", io::empty()).unwrap();
        });
        let (_folder, tree) = read_bytes(&bytes);
        let tree = tree.unwrap();
        let su = tree.get("bin/su").unwrap();
        assert_eq!((su.mode, su.uid, su.gid), (0o4755, 7, 8));
        let Kind::File(Content::Path(path)) = &su.kind else { panic!("{su:?}") };
        assert_eq!(fs::read(path).unwrap(), b"su");
        assert_eq!(tree.get("bin/su2").unwrap().kind, Kind::HardLink("bin/su".into()));
        assert_eq!(tree.get("sh").unwrap().kind, Kind::Symlink("bin/../bin/su".into()));
        assert_eq!(tree.get("dev/null").unwrap().kind, Kind::Device(Device::Character(1, 3)));
    }

    #[test]
    fn what_names_no_owner_is_roots() {
        let bytes = archive(|tar| {
            let mut nobodys = tar::Header::new_old();
            nobodys.set_mode(0o644);
            nobodys.set_size(1);
            nobodys.as_old_mut().name[..6].copy_from_slice(b"./file");
            nobodys.set_cksum();
            tar.append(&nobodys, &b"x"[..]).unwrap();
        });
        let (_folder, tree) = read_bytes(&bytes);
        let tree = tree.unwrap();
        let file = tree.get("file").unwrap();
        assert_eq!((file.mode, file.uid, file.gid), (0o644, 0, 0));
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let bytes = archive(|tar| {
            let mut evil = header(EntryType::Regular, 1);
            evil.as_old_mut().name[..9].copy_from_slice(b"../../out");
            evil.set_cksum();
            tar.append(&evil, &b"x"[..]).unwrap();
        });
        assert!(format!("{:#}", read_bytes(&bytes).1.unwrap_err()).contains("../../out"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..1024, value: u8, cut in 0usize..2048) {
            let mut bytes = archive(|tar| {
                tar.append_data(&mut header(EntryType::Regular, 2), "bin/su", &b"su"[..]).unwrap();
            });
            bytes[at] = value;
            bytes.truncate(cut.max(at + 1));
            let _ = read_bytes(&bytes);
        }
    }
}
