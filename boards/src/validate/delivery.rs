//! Checks of what is built for a board and how it gets onto it.

use super::{Check, Finding, require};
use crate::{Arch, Board, Layout, Method, Tier, Version};

pub const CHECKS: &[Check] = &[
    ("the target is for the board's processor", target_fits_the_processor),
    ("a glibc floor stands with a glibc target", glibc_floor_fits_the_target),
    ("who needs a vendor's linker is experimental", vendor_linker_is_experimental),
    ("flash methods are listed once", methods_are_listed_once),
    ("flashing over USB needs its numbers", usb_has_its_numbers),
    ("writing disks needs a layout", disks_have_a_layout),
    ("boot loaders lie apart and before the partitions", boot_loaders_lie_apart),
];

/// Triples that Rust has for the processors we know.
const TRIPLES: [(Arch, &str); 5] = [
    (Arch::Aarch64, "aarch64-unknown-linux-gnu"),
    (Arch::Aarch64, "aarch64-unknown-linux-musl"),
    (Arch::Armv7, "armv7-unknown-linux-gnueabihf"),
    (Arch::Armv7, "armv7-unknown-linux-musleabihf"),
    (Arch::Armv7, "armv7-unknown-linux-uclibceabihf"),
];
/// The oldest glibc that Rust's standard library runs on.
const OLDEST_GLIBC: Version = Version::new(2, 17);
/// Sectors of a GPT: protective MBR, header and 128 entries.
const GPT_SECTORS: u64 = 34;
/// The last of the first 4 GiB, which every disk has: what starts behind it is a slip, and its bytes may overflow.
const LAST_SECTOR: u64 = (4 << 30) / Layout::SECTOR_BYTES - 1;

fn target_fits_the_processor(board: &Board) -> Result<(), Finding> {
    let Some(target) = &board.target else { return Ok(()) };
    let fitting: Vec<_> =
        TRIPLES.iter().filter(|(arch, _)| *arch == board.arch).map(|(_, name)| *name).collect();
    require(fitting.contains(&target.triple.as_str()), || {
        let found = format!("triple = {:?} with arch = {:?}", target.triple, board.arch);
        let finding = Finding::new("target.triple", found, format!("one of {}", fitting.join(", ")));
        finding.meant(&target.triple, fitting.iter().copied())
    })
}

fn glibc_floor_fits_the_target(board: &Board) -> Result<(), Finding> {
    let Some(target) = &board.target else { return Ok(()) };
    let is_glibc = target.triple.contains("-gnu");
    let holds = match target.glibc_floor {
        Some(floor) => is_glibc && floor >= OLDEST_GLIBC && floor.major == 2,
        None => !is_glibc,
    };
    require(holds, || {
        let floor = target.glibc_floor.map_or("none".into(), |floor| floor.to_string());
        let found = format!("glibc_floor = {floor} for {}", target.triple);
        let expected = format!("{OLDEST_GLIBC} or newer for a -gnu target, none for another");
        Finding::new("target.glibc_floor", found, expected)
    })
}

fn vendor_linker_is_experimental(board: &Board) -> Result<(), Finding> {
    let needs = board.target.as_ref().is_some_and(|target| target.vendor_linker.is_some());
    require(!needs || board.tier == Tier::Experimental, || {
        Finding::new("tier", format!("tier = {:?} with a vendor_linker", board.tier), "\"experimental\"")
    })
}

fn methods_are_listed_once(board: &Board) -> Result<(), Finding> {
    let methods = &board.flash.methods;
    let holds = methods.iter().enumerate().all(|(i, method)| !methods[..i].contains(method));
    require(holds, || Finding::new("flash.methods", format!("methods = {methods:?}"), "each method once"))
}

fn usb_has_its_numbers(board: &Board) -> Result<(), Finding> {
    let holds = board.flash.methods.contains(&Method::Usb) == board.flash.usb.is_some();
    require(holds, || {
        let has = if board.flash.usb.is_some() { "a" } else { "no" };
        let found = format!("methods = {:?} and {has} [flash.usb]", board.flash.methods);
        Finding::new("flash.methods", found, "the method usb and [flash.usb], or neither")
    })
}

fn disks_have_a_layout(board: &Board) -> Result<(), Finding> {
    let writes_disks = |method: &&Method| matches!(method, Method::Usb | Method::Sd);
    let Some(method) = board.flash.methods.iter().find(writes_disks) else { return Ok(()) };
    require(board.flash.layout.is_some(), || {
        let found = format!("the method {method:?} and no [flash.layout]").to_lowercase();
        let finding = Finding::new("flash.methods", found, "both, or neither");
        finding
            .help("an image in a layout of the vendor's own is for the vendor's tool: leave the method out")
    })
}

fn boot_loaders_lie_apart(board: &Board) -> Result<(), Finding> {
    let Some(Layout { idbloader_sector, uboot_sector, boot_sector, boot_mib }) = board.flash.layout else {
        return Ok(());
    };
    let mut free = GPT_SECTORS;
    let all = [
        ("idbloader_sector", idbloader_sector),
        ("uboot_sector", uboot_sector),
        ("boot_sector", Some(boot_sector)),
    ];
    for (name, sector) in all {
        let Some(sector) = sector else { continue };
        require((free..=LAST_SECTOR).contains(&sector), || {
            let finding = Finding::new(
                format!("flash.layout.{name}"),
                format!("{name} = {sector}"),
                format!("{free}, after what lies before it, to {LAST_SECTOR}, the last of 4 GiB"),
            );
            finding.help(format!("sectors have {} bytes", Layout::SECTOR_BYTES))
        })?;
        free = sector + 1;
    }
    let found = || format!("boot_mib = {boot_mib}");
    require((1..=4096).contains(&boot_mib), || {
        Finding::new("flash.layout.boot_mib", found(), "1 to 4096 MiB")
    })
}
