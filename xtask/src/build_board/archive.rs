//! A tree as tar.gz, the same bytes for the same tree: no times, users or orders of this machine.

use std::env;
use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::tree::{File, Mode, Tree};

/// What files are dated where nothing else is asked for: 2025-01-01.
const EPOCH_S: u64 = 1_735_689_600;

/// The time that files are dated, in seconds since 1970: SOURCE_DATE_EPOCH where it is set.
///
/// # Errors
/// When it is set and no number.
pub fn date_s() -> Result<u64> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text} is no number of seconds")),
        Err(_) => Ok(EPOCH_S),
    }
}

/// The tree as tar.gz, owned by root.
///
/// # Errors
/// When a path is too long.
pub fn tar_gz(tree: &Tree) -> Result<Vec<u8>> {
    let date_s = date_s()?;
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "./", EntryType::Directory, Mode::Program, &[], date_s)?;
    for folder in tree.folders() {
        append(&mut tar, &format!("./{folder}/"), EntryType::Directory, Mode::Program, &[], date_s)?;
    }
    for (path, File { mode, bytes }) in tree.files() {
        append(&mut tar, &format!("./{path}"), EntryType::Regular, *mode, bytes, date_s)?;
    }
    let tar = tar.into_inner().context("cannot end the archive")?;
    let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gz.write_all(&tar).and_then(|()| gz.finish()).context("cannot compress the archive")
}

fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: Mode,
    bytes: &[u8],
    date_s: u64,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode.bits());
    header.set_size(bytes.len() as u64);
    header.set_mtime(date_s);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").and_then(|()| header.set_groupname("root"))?;
    // Not `append_data`, which drops the leading dot that dpkg's archives have.
    let name = header.as_old_mut().name.get_mut(..path.len()).filter(|name| name.len() < 100);
    name.with_context(|| format!("{path} is too long for an archive"))?.copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).with_context(|| format!("cannot pack {path}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_holds_the_tree_and_nothing_of_this_machine() {
        let mut tree = Tree::default();
        tree.add("usr/bin/x", Mode::Program, b"hello".into());
        let bytes = tar_gz(&tree).unwrap();
        assert_eq!(bytes, tar_gz(&tree).unwrap());
        let mut archive = tar::Archive::new(GzDecoder::new(&*bytes));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, date_s().unwrap()));
            let mode = header.mode().unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            found.push((name, mode, content));
        }
        let folder = |name: &str| (name.to_owned(), 0o755, String::new());
        let expected = [
            folder("./"),
            folder("./usr/"),
            folder("./usr/bin/"),
            ("./usr/bin/x".into(), 0o755, "hello".into()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_path_that_does_not_fit_is_named() {
        let mut tree = Tree::default();
        tree.add(&"x".repeat(200), Mode::Data, Vec::new());
        assert!(tar_gz(&tree).unwrap_err().to_string().contains("too long"));
    }
}
