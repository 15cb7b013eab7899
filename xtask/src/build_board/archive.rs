//! A tree as tar.gz, the same bytes for the same tree: no times, users or orders of this machine.

use std::env;
use std::io::Write;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::tree::{Kind, Tree};

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
/// When a path is too long, a file of the host cannot be read, or there is a device or a second name.
pub fn tar_gz(tree: &Tree) -> Result<Vec<u8>> {
    let mut archive = Archive { tar: Builder::new(Vec::new()), date_s: date_s()? };
    archive.append("./", &archive.header(EntryType::Directory, 0o755), &[])?;
    for (path, node) in tree.nodes() {
        let header = |kind| archive.header(kind, node.mode);
        match &node.kind {
            Kind::Folder => archive.append(&format!("./{path}/"), &header(EntryType::Directory), &[])?,
            Kind::File(content) => {
                archive.append(&format!("./{path}"), &header(EntryType::Regular), &content.read()?)?;
            }
            Kind::Symlink(target) => {
                let mut header = header(EntryType::Symlink);
                header.set_link_name(target).with_context(|| format!("cannot pack {path}"))?;
                archive.append(&format!("./{path}"), &header, &[])?;
            }
            other => bail!("{path} is {other:?}: a package holds folders, files and symbolic links"),
        }
    }
    let tar = archive.tar.into_inner().context("cannot end the archive")?;
    let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gz.write_all(&tar).and_then(|()| gz.finish()).context("cannot compress the archive")
}

/// An archive that is being written.
struct Archive {
    tar: Builder<Vec<u8>>,
    date_s: u64,
}

impl Archive {
    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(self.date_s);
        header
    }

    fn append(&mut self, path: &str, header: &Header, bytes: &[u8]) -> Result<()> {
        let mut header = header.clone();
        header.set_size(bytes.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root").and_then(|()| header.set_groupname("root"))?;
        // Not `append_data`, which drops the leading dot that dpkg's archives have.
        let name = header.as_old_mut().name.get_mut(..path.len()).filter(|name| name.len() < 100);
        name.with_context(|| format!("{path} is too long for an archive"))?.copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.tar.append(&header, bytes).with_context(|| format!("cannot pack {path}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::tree::{Content, Node};

    #[test]
    fn an_archive_holds_the_tree_and_nothing_of_this_machine() {
        let mut tree = Tree::default();
        tree.put("usr/bin/x", Node::file(Content::Bytes(b"hello".into()), 0o755)).unwrap();
        tree.put("usr/bin/y", Node::symlink("x")).unwrap();
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
            if let Some(target) = entry.link_name().unwrap() {
                content = format!("-> {}", target.display());
            }
            entry.read_to_string(&mut content).unwrap();
            found.push((name, mode, content));
        }
        let folder = |name: &str| (name.to_owned(), 0o755, String::new());
        let expected = [
            folder("./"),
            folder("./usr/"),
            folder("./usr/bin/"),
            ("./usr/bin/x".into(), 0o755, "hello".into()),
            ("./usr/bin/y".into(), 0o777, "-> x".into()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_path_that_does_not_fit_is_named() {
        let mut tree = Tree::default();
        tree.put(&"x".repeat(200), Node::file(Content::Bytes(Vec::new()), 0o644)).unwrap();
        assert!(tar_gz(&tree).unwrap_err().to_string().contains("too long"));
    }
}
