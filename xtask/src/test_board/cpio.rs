//! A file tree as the archive that Linux unpacks into its first root: cpio, "newc".
//! The same tree gives the same bytes: no time, no user and no inode of the host gets in.

use std::borrow::Cow;
use std::io::Write;

use anyhow::{Context, Result, bail};
use cpio::newc::{self, Builder};

use crate::tree::{Kind, Tree};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Archives may follow each other if each begins at such a multiple.
const ALIGNMENT: usize = 512;

/// The archive of a tree, filled up so that another one may follow.
///
/// # Errors
/// When a file cannot be read, is longer than the format can say (4 GiB), or is a device or a second name.
pub fn pack(tree: &Tree) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (inode, (path, node)) in (1..).zip(tree.nodes()) {
        let (kind, bytes) = match &node.kind {
            Kind::Folder => (FOLDER, Cow::default()),
            Kind::File(content) => (FILE, content.read()?),
            Kind::Symlink(target) => (LINK, Cow::from(target.as_bytes())),
            other => bail!("{path} is {other:?}: a first root holds folders, files and symbolic links"),
        };
        let length = u32::try_from(bytes.len()).with_context(|| format!("{path} is too long for cpio"))?;
        let builder = Builder::new(path).ino(inode).mode(kind | node.mode).uid(node.uid).gid(node.gid);
        let mut member = builder.nlink(1).write(&mut archive, length);
        member.write_all(&bytes).and_then(|()| member.finish().map(drop)).with_context(|| path.to_owned())?;
    }
    newc::trailer(&mut archive).context("cannot end the cpio archive")?;
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::tree::{Content, Device, Node};

    #[test]
    fn what_is_packed_can_be_read() {
        let mut tree = Tree::default();
        let script = Content::Bytes(b"#!/bin/sh\n".to_vec());
        tree.put("usr/bin/run", Node::file(script, 0o750)).unwrap();
        tree.put("bin", Node::symlink("usr/bin")).unwrap();
        let archive = pack(&tree).unwrap();
        assert_eq!(archive.len() % ALIGNMENT, 0);
        let mut rest = &archive[..];
        let mut seen = Vec::new();
        loop {
            let mut member = newc::Reader::new(rest).unwrap();
            if member.entry().is_trailer() {
                break;
            }
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            let entry = member.entry();
            seen.push((entry.name().to_owned(), entry.mode(), String::from_utf8(bytes).unwrap()));
            rest = member.finish().unwrap();
        }
        let expected = [
            ("bin", 0o120_777, "usr/bin"),
            ("usr", 0o040_755, ""),
            ("usr/bin", 0o040_755, ""),
            ("usr/bin/run", 0o100_750, "#!/bin/sh\n"),
        ];
        assert_eq!(seen, expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned())));
    }

    #[test]
    fn what_a_first_root_cannot_hold_is_refused() {
        let mut tree = Tree::default();
        let pipe = Node { kind: Kind::Device(Device::Pipe), ..Node::folder(0o644) };
        tree.put("pipe", pipe).unwrap();
        assert!(pack(&tree).unwrap_err().to_string().contains("pipe is"));
    }
}
