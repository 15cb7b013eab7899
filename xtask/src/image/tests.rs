use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::LazyLock;

use artifact::{Bundle, Trust};
use boards::Board;
use signing::{KeyFiles, PrivateKey, Protection};

use super::*;
use crate::system;
use crate::workspace::Workspace;

/// A public key, and a bundle that it verifies: the same for all images of a test, because no signature is made twice alike.
static SIGNED: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let files = KeyFiles::of(folder.path(), "ours");
    files.generate(Protection::None).unwrap();
    let mut bundle = Bundle::open(&unsigned_bundle(), &Trust::anyone()).unwrap();
    let parts = bundle.read_parts().unwrap();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let signed = folder.path().join("signed.bundle");
    let key = PrivateKey::read(&files.private, "test").unwrap();
    Bundle::write_signed(&signed, bundle.manifest(), &parts, &key).unwrap();
    (fs::read(files.public).unwrap(), fs::read(signed).unwrap())
});

fn unsigned_bundle() -> PathBuf {
    Workspace::find().unwrap().join("tests/boards/npu.bundle")
}

/// A key that has signed nothing.
fn another_key() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let files = KeyFiles::of(folder.path(), "theirs");
    files.generate(Protection::None).unwrap();
    fs::read(files.public).unwrap()
}

/// Parts that no board would boot, of sizes that show where each lies.
struct Bench {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            Some(path)
        };
        let noise = |seed: u8, count: usize| -> Vec<u8> {
            (0..count).map(|at| seed ^ at.to_le_bytes()[0] ^ at.to_le_bytes()[1].wrapping_mul(31)).collect()
        };
        write("rootfs/etc/hostname", b"board\n");
        write("rootfs/usr/lib/with \"quotes\" and spaces", &noise(9, 70_000));
        write("rootfs/usr/lib/zeros", &[0; 20_000]);
        symlink("usr/lib", folder.path().join("rootfs/lib")).unwrap();
        write("package/usr/lib/repedge/package/VERSION", b"0.1.0+0123456789ab\n");
        write("package/usr/lib/repedge/package/bin/self-test", b"#!");
        write("package/usr/lib/repedge/package/keys/ours.pub", &SIGNED.0);
        write("package/usr/lib/repedge/package/model.bundle", &SIGNED.1);
        write("package/usr/lib/systemd/system/repedge-camera-demo.service", b"[Unit]\n");
        let sources = Sources {
            rootfs: Some(folder.path().join("rootfs")),
            kernel: write("Image", &noise(1, 300_001)),
            dtb: write("b.dtb", &noise(2, 40_000)),
            idbloader: write("idbloader.img", &noise(3, 123_457)),
            uboot: write("u-boot.itb", &noise(4, 900_000)),
            append: Some("console=ttyS2,1500000".into()),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn package(&self) -> PathBuf {
        self.folder.path().join("package")
    }

    fn build(&self, out: &str) -> Result<Built> {
        build(
            &Board::find("rk3588").unwrap(),
            &self.sources,
            Some(&self.package()),
            &self.folder.path().join(out),
        )
    }

    fn part(file: &Option<PathBuf>) -> Vec<u8> {
        fs::read(file.as_ref().unwrap()).unwrap()
    }
}

/// What a filesystem inside of an image holds at a path.
fn cat(filesystem: &Path, path: &str) -> Vec<u8> {
    debugfs(filesystem, &format!("cat \"{}\"", path.replace('"', "\"\"")))
}

fn debugfs(filesystem: &Path, request: &str) -> Vec<u8> {
    let mut command = Command::new(system::program("debugfs").unwrap());
    command.args(["-R", request]).arg(filesystem).output().unwrap().stdout
}

/// Cuts a partition out of an image.
fn cut(image: &Path, partition: &gptman::GPTPartitionEntry, to: &Path) {
    let bytes = fs::read(image).unwrap();
    let at = |sector: u64| usize::try_from(sector * 512).unwrap();
    fs::write(to, &bytes[at(partition.starting_lba)..at(partition.ending_lba + 1)]).unwrap();
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn every_byte_is_where_the_layout_says() {
    let bench = Bench::new();
    let built = bench.build("out").unwrap();
    let board = Board::find("rk3588").unwrap();
    let layout = board.flash.layout.unwrap();
    let image = fs::read(&built.image).unwrap();
    let at = |sector: u64| usize::try_from(sector * 512).unwrap();
    for (sector, part) in [
        (layout.idbloader_sector.unwrap(), &bench.sources.idbloader),
        (layout.uboot_sector.unwrap(), &bench.sources.uboot),
    ] {
        let part = Bench::part(part);
        assert!(image[at(sector)..].starts_with(&part), "sector {sector}");
    }

    let gpt = gptman::GPT::find_from(&mut fs::File::open(&built.image).unwrap()).unwrap();
    let partitions: Vec<_> =
        gpt.iter().filter(|(_, entry)| entry.is_used()).map(|(_, entry)| entry).collect();
    assert_eq!(
        partitions.iter().map(|entry| entry.partition_name.to_string()).collect::<Vec<_>>(),
        ["boot", "root"]
    );
    assert_eq!(partitions[0].starting_lba, layout.boot_sector);
    assert_eq!(partitions[0].size().unwrap() * 512, layout.boot_mib << 20);
    assert_eq!(partitions[0].attribute_bits & 4, 4, "U-Boot looks for the bootable partition");
    assert_eq!(partitions[1].starting_lba, partitions[0].ending_lba + 1);
    // The first table is cut off: the one at the end must do as well.
    let mut backup = image.clone();
    backup[512..1024].fill(0);
    gptman::GPT::find_from(&mut std::io::Cursor::new(backup)).unwrap();

    let boot = bench.folder.path().join("boot.ext4");
    cut(&built.image, partitions[0], &boot);
    assert_eq!(cat(&boot, "/kernel"), Bench::part(&bench.sources.kernel));
    assert_eq!(cat(&boot, "/board.dtb"), Bench::part(&bench.sources.dtb));
    let entry = String::from_utf8(cat(&boot, "/extlinux/extlinux.conf")).unwrap();
    let uuid = uuid_of(partitions[1].unique_partition_guid);
    assert!(
        entry.contains(&format!("append root=PARTUUID={uuid} rootwait rw console=ttyS2,1500000\n")),
        "{entry}"
    );

    let root = bench.folder.path().join("root.ext4");
    cut(&built.image, partitions[1], &root);
    let odd = "usr/lib/with \"quotes\" and spaces";
    assert_eq!(
        cat(&root, &format!("/{odd}")),
        fs::read(bench.folder.path().join("rootfs").join(odd)).unwrap()
    );
    assert_eq!(cat(&root, "/usr/lib/zeros"), [0; 20_000]);
    assert_eq!(cat(&root, "/var/lib/repedge/versions/0.1.0+0123456789ab/bin/self-test"), b"#!");
    let current = String::from_utf8(debugfs(&root, "stat /var/lib/repedge/current")).unwrap();
    assert!(current.contains("Fast link dest: \"versions/0.1.0+0123456789ab\""), "{current}");
    assert!(current.contains("User:     0   Group:     0"), "{current}");
}

/// A GUID as it is written: the first three parts are little-endian.
fn uuid_of(b: [u8; 16]) -> String {
    let text: String =
        [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|at| format!("{:02x}", b[at])).concat();
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn the_same_parts_give_the_same_bytes() {
    let (first, second) = (Bench::new(), Bench::new());
    // Another order of making, other times, and a folder of another filesystem where there is one.
    let shm = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let rootfs = shm.path().join("rootfs");
    fs::create_dir_all(rootfs.join("usr/lib")).unwrap();
    symlink("usr/lib", rootfs.join("lib")).unwrap();
    fs::create_dir(rootfs.join("etc")).unwrap();
    for name in ["usr/lib/zeros", "usr/lib/with \"quotes\" and spaces", "etc/hostname"] {
        fs::copy(second.folder.path().join("rootfs").join(name), rootfs.join(name)).unwrap();
    }
    let sources = Sources { rootfs: Some(rootfs), ..second.sources.clone() };
    let second_out = second.folder.path().join("out");
    let one = first.build("out").unwrap();
    let two = build(&Board::find("rk3588").unwrap(), &sources, Some(&second.package()), &second_out).unwrap();
    assert!(fs::read(&one.image).unwrap() == fs::read(&two.image).unwrap(), "images differ");
    assert_eq!(fs::read(&one.bmap).unwrap(), fs::read(&two.bmap).unwrap());
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn what_the_map_leaves_out_may_hold_anything() {
    let bench = Bench::new();
    let built = bench.build("out").unwrap();
    let mut image = fs::read(&built.image).unwrap();
    let map = Bmap::beside(&built.image).unwrap();
    assert!(built.mapped_bytes < built.image_bytes / 2, "{built:?}");
    assert_eq!(map.board(), Some("rk3588"));
    let mut next = 0;
    let spans = map.ranges().iter().map(|range| (range.start, range.bytes));
    for (start, bytes) in spans.chain([(map.image_bytes(), 0)]) {
        let index = |at: u64| usize::try_from(at).unwrap();
        image[index(next)..index(start)].fill(0xa5);
        next = start + bytes;
    }
    let gpt = gptman::GPT::find_from(&mut std::io::Cursor::new(&image)).unwrap();
    let junk = bench.folder.path().join("junk.img");
    fs::write(&junk, &image).unwrap();
    for (_, entry) in gpt.iter().filter(|(_, entry)| entry.is_used()) {
        let filesystem = bench.folder.path().join("junk.ext4");
        cut(&junk, entry, &filesystem);
        let mut check = Command::new(system::program("e2fsck").unwrap());
        let output = check.arg("-fn").arg(&filesystem).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn a_tar_keeps_owners_devices_and_second_names() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(fs::File::create(bench.folder.path().join("rootfs.tar")).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(8);
    header.set_size(2);
    tar.append_data(&mut header.clone(), "usr/bin/su", &b"su"[..]).unwrap();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Link);
    tar.append_link(&mut header.clone(), "usr/bin/do", "usr/bin/su").unwrap();
    header.set_entry_type(tar::EntryType::Char);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    tar.append_data(&mut header, "dev/null", std::io::empty()).unwrap();
    tar.finish().unwrap();
    let sources = Sources {
        rootfs: Some(bench.folder.path().join("rootfs.tar")),
        root_mib: Some(16),
        ..bench.sources.clone()
    };
    let built =
        build(&Board::find("rk3588").unwrap(), &sources, None, &bench.folder.path().join("out")).unwrap();
    let gpt = gptman::GPT::find_from(&mut fs::File::open(&built.image).unwrap()).unwrap();
    let root = bench.folder.path().join("root.ext4");
    cut(&built.image, &gpt[2], &root);
    let stat = |path: &str| String::from_utf8(debugfs(&root, &format!("stat {path}"))).unwrap();
    let su = stat("/usr/bin/su");
    assert!(
        su.contains("Mode:  04755") && su.contains("User:  1000   Group:     8") && su.contains("Links: 2"),
        "{su}"
    );
    assert_eq!(cat(&root, "/usr/bin/do"), b"su");
    let null = stat("/dev/null");
    assert!(null.contains("character special") && null.contains("01:03"), "{null}");
}

#[test]
fn a_version_in_service_has_the_keys_of_the_device_in_place_of_its_own() {
    let bench = Bench::new();
    let keys = bench.folder.path().join("rootfs/etc/repedge/keys");
    fs::create_dir_all(keys.join("old.pub")).unwrap();
    fs::write(keys.join("vendor.pub"), &SIGNED.0).unwrap();
    fs::set_permissions(keys.join("vendor.pub"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(keys.join("notes"), "no key").unwrap();
    let board = Board::find("rk3588").unwrap();
    let parts = bench.sources.read(&board, Some(&bench.package()), bench.folder.path()).unwrap();
    let place = "var/lib/repedge/versions/0.1.0+0123456789ab/keys/";
    let found = parts.root.nodes().filter_map(|(path, _)| path.strip_prefix(place)).collect::<Vec<_>>();
    assert_eq!(found, ["device-vendor.pub"]);
    assert_eq!(
        parts.root.get(&format!("{place}device-vendor.pub")).unwrap().mode,
        0o644,
        "the service may read it"
    );
}

#[test]
fn an_image_allows_what_nobody_signed_only_when_asked_to() {
    let bench = Bench::new();
    let allows = |sources: &Sources| {
        let board = Board::find("rk3588").unwrap();
        let parts = sources.read(&board, Some(&bench.package()), bench.folder.path()).unwrap();
        parts.root.get("etc/repedge/allow-unsigned").is_some()
    };
    assert!(!allows(&bench.sources));
    assert!(allows(&Sources { allow_unsigned: true, ..bench.sources.clone() }));
}

#[test]
fn an_image_whose_boards_would_run_nothing_is_refused() {
    let bench = Bench::new();
    let board = Board::find("rk3588").unwrap();
    let read = |sources: &Sources| {
        let parts = sources.read(&board, Some(&bench.package()), bench.folder.path());
        parts.map(drop).map_err(|error| error.to_string())
    };
    let ways = ["sign", "--sign KEY", "--allow-unsigned"];
    let expect_refused = |way_in: &str| {
        let error = read(&bench.sources).unwrap_err();
        for part in ways.into_iter().chain([way_in]) {
            assert!(error.contains(part), "{part}: {error}");
        }
        read(&Sources { allow_unsigned: true, ..bench.sources.clone() }).unwrap();
    };
    read(&bench.sources).unwrap();
    // Keys of the device count in place of the package's.
    let keys = bench.folder.path().join("rootfs/etc/repedge/keys");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join("vendor.pub"), another_key()).unwrap();
    expect_refused("(vendor.pub)");
    fs::write(keys.join("ours.pub"), &SIGNED.0).unwrap();
    read(&bench.sources).unwrap();

    fs::remove_dir_all(&keys).unwrap();
    let package = bench.package().join("usr/lib/repedge/package");
    fs::remove_file(package.join("keys/ours.pub")).unwrap();
    expect_refused("--trust FILE.pub");
    fs::copy(unsigned_bundle(), package.join("model.bundle")).unwrap();
    expect_refused("not signed");
    fs::write(bench.folder.path().join("rootfs/etc/repedge/allow-unsigned"), "").unwrap();
    read(&bench.sources).unwrap();
}

/// The same, of a folder and of a tar, from what is known before anything is built.
#[test]
fn what_boards_would_refuse_is_refused_before_it_is_built() {
    let bench = Bench::new();
    let package = bench.package().join("usr/lib/repedge/package");
    let (signed, ours) = (package.join("model.bundle"), [package.join("keys/ours.pub")]);
    let rootfs = bench.folder.path().join("rootfs");
    let settings = rootfs.join("etc/repedge");
    let tar = bench.folder.path().join("rootfs.tar");
    let expect = |bundle: Option<&Path>, keys: &[PathBuf], says: Option<&str>| {
        let mut builder = tar::Builder::new(fs::File::create(&tar).unwrap());
        builder.follow_symlinks(false);
        builder.append_dir_all(".", &rootfs).unwrap();
        builder.finish().unwrap();
        for source in [&rootfs, &tar] {
            let sources = Sources { rootfs: Some(source.clone()), ..Sources::default() };
            let result = sources.expect_runs(bundle, keys).map_err(|error| error.to_string());
            match says {
                None => result.unwrap(),
                Some(part) => assert!(result.as_ref().is_err_and(|error| error.contains(part)), "{result:?}"),
            }
        }
        Sources { allow_unsigned: true, ..Sources::default() }.expect_runs(bundle, keys).unwrap();
    };
    expect(None, &ours, Some("not signed"));
    expect(Some(&signed), &[], Some("--trust FILE.pub"));
    expect(Some(&signed), &ours, None);
    fs::create_dir_all(settings.join("keys")).unwrap();
    fs::write(settings.join("keys/vendor.pub"), another_key()).unwrap();
    expect(Some(&signed), &ours, Some("(vendor.pub)"));
    fs::write(settings.join("keys/vendor.pub"), &SIGNED.0).unwrap();
    expect(Some(&signed), &[], None);
    fs::write(settings.join("allow-unsigned"), "").unwrap();
    expect(None, &[], None);
}

#[test]
fn an_image_without_boot_parts_names_what_is_missing() {
    let bench = Bench::new();
    let sources = Sources { dtb: None, uboot: None, ..bench.sources.clone() };
    let board = Board::find("rk3588").unwrap();
    let error = sources.layout_of(&board).unwrap_err().to_string();
    assert!(error.contains("--dtb FILE, --uboot FILE\n"), "{error}");
    let error = Sources::default().layout_of(&board).unwrap_err().to_string();
    for part in ["--rootfs", "--kernel", "--dtb", "--idbloader", "--uboot"] {
        assert!(error.contains(part), "{error}");
    }
    let virt = Board::find("qemu-virt").unwrap();
    assert!(bench.sources.layout_of(&virt).unwrap_err().to_string().contains("no place for"));
    let error = bench.sources.layout_of(&Board::find("rpi5").unwrap()).unwrap_err().to_string();
    assert!(error.contains("takes no disk image"), "{error}");
    bench.sources.layout_of(&board).unwrap();
    expect_medium(&board, Medium::Emmc).unwrap();
    assert!(expect_medium(&virt, Medium::Emmc).unwrap_err().to_string().contains("for this medium"));
}

#[test]
fn a_loader_that_runs_into_the_next_part_is_refused() {
    let bench = Bench::new();
    let big = bench.folder.path().join("big");
    fs::write(&big, vec![1; (16384 - 64) * 512 + 1]).unwrap();
    let sources = Sources { idbloader: Some(big), ..bench.sources.clone() };
    let out = bench.folder.path().join("out");
    let error = build(&Board::find("rk3588").unwrap(), &sources, None, &out).unwrap_err().to_string();
    assert!(
        error.contains("idbloader has 8355841 bytes and would run into u-boot at sector 16384"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is left behind");
}

#[test]
#[ignore = "needs genimage, e2fsprogs and fakeroot"]
fn files_that_do_not_fit_are_refused_before_anything_is_written() {
    let bench = Bench::new();
    let mut noise = vec![0; 9 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(bench.folder.path().join("rootfs/large"), noise).unwrap();
    let sources = Sources { root_mib: Some(8), ..bench.sources.clone() };
    let out = bench.folder.path().join("out");
    let error = build(&Board::find("rk3588").unwrap(), &sources, None, &out).unwrap_err().to_string();
    assert!(error.contains("do not fit into the 8 MiB of the root partition"), "{error}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is left behind");
}
