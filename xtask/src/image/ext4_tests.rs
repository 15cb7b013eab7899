//! What a filesystem holds is what its tree says, wherever that was laid out and whatever the host's clock said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::ext4::*;
use super::identity::{ContentDigest, Uuid};
use crate::system;
use crate::tree::{Content, Device, Kind, Node, Tree};

/// Files of the host, with their modes.
const FILES: [(&str, &[u8], u32); 6] = [
    ("etc/hostname", b"board\n", 0o644),
    ("etc/shadow", b"root:*:\n", 0o640),
    ("usr/lib/with \"quotes\" and spaces", &[7; 70_000], 0o444),
    ("usr/lib/zeros", &[0; 20_000], 0o644),
    ("usr/lib/a b", b"", 0o755),
    ("Z", b"upper case before lower", 0o600),
];

/// A root filesystem in a folder, its files made in an order and dated alike.
fn lay_out<'a>(folder: &Path, files: impl Iterator<Item = &'a (&'a str, &'a [u8], u32)>, changed_s: u64) {
    for (name, bytes, mode) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed_s);
        File::options().append(true).open(&path).unwrap().set_modified(changed).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    fs::create_dir_all(folder.join("var/empty")).unwrap();
    symlink("usr/lib/", folder.join("lib")).unwrap();
    symlink(format!("/{}", "long/".repeat(30)), folder.join("far")).unwrap();
}

/// What the folder holds, and what only a tar could bring.
fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::default();
    tree.add_folder(folder).unwrap();
    let device = |device, mode| Node { kind: Kind::Device(device), mode, uid: 0, gid: 6 };
    let bytes = |text: &str, mode, uid, gid| {
        let kind = Kind::File(Content::Bytes(text.into()));
        Node { kind, mode, uid, gid }
    };
    for (path, node) in [
        ("bin/su", bytes("su", 0o4755, 0, 0)),
        // In name order before the file that it is another name of.
        ("bin/do", Node { kind: Kind::HardLink("bin/su".into()), mode: 0, uid: 0, gid: 0 }),
        ("etc/gshadow", bytes("nobody may read it", 0, 70_000, 42)),
        ("etc/run-only", bytes("#!", 0o111, 1, 2)),
        ("dev/null", device(Device::Character(1, 3), 0o666)),
        ("dev/disk", device(Device::Block(259, 300), 0o660)),
        ("dev/pipe", device(Device::Pipe, 0o620)),
        ("srv", Node { mode: 0o1777, gid: 33, ..Node::folder(0) }),
        ("locked", Node { uid: 1000, gid: 1000, ..Node::folder(0o500) }),
        ("locked/file", bytes("x", 0o400, 1000, 1000)),
        ("link", Node { mode: 0o755, uid: 3, gid: 4, ..Node::symlink("locked/file") }),
        ("lost+found", Node::folder(0o700)),
    ] {
        tree.put(path, node).unwrap();
    }
    tree
}

fn filesystem(reader: Reader, tree: &Tree) -> Ext4<'static> {
    Ext4 {
        label: "root",
        uuid: Uuid::of("test", &ContentDigest::of([tree]).unwrap()),
        bytes: 16 << 20,
        reader,
    }
}

fn said_by(program: &str, arguments: &[&str], image: &Path) -> String {
    let mut command = Command::new(system::program(program).unwrap());
    let output = command.args(arguments).arg(image).env("LC_ALL", "C").env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn the_same_tree_gives_the_same_bytes_wherever_it_was_laid_out() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Folders of another filesystem list their files in another order, where there is one.
    let elsewhere = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let odd = elsewhere.path().join("a $(path) with \"odd\" 'names'; in it");
    fs::create_dir(&odd).unwrap();
    lay_out(&here.path().join("rootfs"), FILES.iter(), 1_000_000_000);
    lay_out(&there.path().join("rootfs"), FILES.iter().rev(), 9_000_000_000);
    for reader in [Reader::Kernel, Reader::BootLoader] {
        let images = [(&here, here.path()), (&there, &*odd)].map(|(folder, scratch)| {
            let tree = tree(&folder.path().join("rootfs"));
            let image = folder.path().join("image");
            filesystem(reader, &tree).write(&tree, &image, scratch).unwrap();
            fs::read(image).unwrap()
        });
        assert!(images[0] == images[1], "{reader:?}: images differ");
    }
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn what_is_read_back_is_what_the_tree_says() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&folder.path().join("rootfs"), FILES.iter(), 1_000_000_000);
    let (tree, image) = (tree(&folder.path().join("rootfs")), folder.path().join("image"));
    let filesystem = filesystem(Reader::Kernel, &tree);
    filesystem.write(&tree, &image, folder.path()).unwrap();

    assert_root_is(&tree, &image);
    for (path, node) in tree.nodes() {
        let request = |what: &str| format!("{what} \"/{}\"", path.replace('"', "\"\""));
        let told = words(&said_by("debugfs", &["-R", &request("stat")], &image));
        for part in expected(&tree, path, node) {
            assert!(told.contains(&part), "{path}: {part}: {told}");
        }
        if let Kind::File(content) = &node.kind {
            let read = said_by("debugfs", &["-R", &request("cat")], &image);
            assert!(read.as_bytes() == &*content.read().unwrap(), "{path}");
        }
    }
    said_by("e2fsck", &["-fn"], &image);
    let told = words(&said_by("dumpe2fs", &["-h"], &image));
    let uuid = filesystem.uuid;
    let date = "Wed Jan 1 00:00:00 2020";
    for part in [
        "Filesystem volume name: root ",
        &format!("Filesystem UUID: {uuid} "),
        &format!("Directory Hash Seed: {uuid} "),
        &format!("Filesystem created: {date} "),
        &format!("Last write time: {date} "),
        "Filesystem features: has_journal ext_attr dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file \
         dir_nlink extra_isize metadata_csum ",
        "Reserved block count: 0 ",
        "Block count: 4096 ",
        "Inode count: 1024 ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// The root is in no tree.
fn assert_root_is(tree: &Tree, image: &Path) {
    let told = words(&said_by("debugfs", &["-R", "stat /"], image));
    for part in
        times().into_iter().chain(["Type: directory Mode: 0755 ", "User: 0 Group: 0 "].map(Into::into))
    {
        assert!(told.contains(&part), "/: {part}: {told}");
    }
    let listed = said_by("debugfs", &["-R", "ls -p /"], image);
    // Lines such as `/12/040755/0/0/etc//`.
    let names: Vec<_> = listed.lines().filter_map(|line| line.split('/').nth(5)).collect();
    let expected = tree.nodes().filter(|(path, _)| !path.contains('/')).count();
    assert_eq!(names.len(), expected + 2, "beside `.` and `..`: {names:?}");
}

/// What debugfs tells of a name that is as a tree says.
fn expected(tree: &Tree, path: &str, node: &Node) -> Vec<String> {
    let mut links: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, node) in tree.nodes() {
        if let Kind::HardLink(target) = &node.kind {
            *links.entry(target).or_insert(1) += 1;
        }
    }
    let (path, node) = match &node.kind {
        Kind::HardLink(target) => (target.as_str(), tree.get(target).unwrap()),
        _ => (path, node),
    };
    let count = links.get(path).copied().unwrap_or(1);
    let (kind, more) = match &node.kind {
        Kind::Folder => ("directory", String::new()),
        Kind::File(content) => ("regular", format!("Size: {} ", content.size().unwrap())),
        Kind::Symlink(target) if target.len() < 60 => ("symlink", format!("Fast link dest: \"{target}\"")),
        Kind::Symlink(target) => ("symlink", format!("Size: {} ", target.len())),
        Kind::Device(Device::Character(major, minor)) => {
            ("character special", format!("Device major/minor number: {major:02}:{minor:02} "))
        }
        Kind::Device(Device::Block(major, minor)) => {
            ("block special", format!("Device major/minor number: {major:02}:{minor:02} "))
        }
        Kind::Device(Device::Pipe) => ("FIFO", String::new()),
        Kind::HardLink(_) => panic!("{path} is a second name of a second name"),
    };
    let mut parts = times();
    parts.extend([
        format!("Type: {kind} Mode: 0{:03o} ", node.mode),
        format!("User: {} Group: {} ", node.uid, node.gid),
        more,
    ]);
    if node.kind != Kind::Folder {
        parts.push(format!("Links: {count} "));
    }
    parts
}

/// To the nanosecond.
fn times() -> Vec<String> {
    ["ctime", "atime", "mtime", "crtime"].map(|time| format!(" {time}: 0x5e0be100:00000000 ")).into()
}

/// A text with one space between words.
fn words(text: &str) -> String {
    text.split_whitespace().map(|word| format!("{word} ")).collect()
}
