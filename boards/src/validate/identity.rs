//! Checks of what a board is called and which engines it has.

use super::{Check, Finding, is_listed_once, is_one_line, require};
use crate::{Arch, Backend, Board};

pub const CHECKS: &[Check] = &[
    ("name is plain", name_is_plain),
    ("description is one line", description_is_one_line),
    ("the chip is named", soc_is_one_line),
    ("names of the device tree are vendor and chip", names_of_the_device_tree_are_plain),
    ("backends are listed once", backends_are_listed_once),
    ("precisions are listed once", precisions_are_listed_once),
    ("an NPU has a backend", an_npu_has_a_backend),
    ("a board has a target, the host has none", only_the_host_has_no_target),
];

pub fn name_is_the_folder(board: &Board, folder: &str) -> Result<(), Finding> {
    require(board.name == folder, || {
        Finding::new(
            "name",
            format!("name = {:?}", board.name),
            format!("{folder:?}, the name of the folder"),
        )
    })
}

fn name_is_plain(board: &Board) -> Result<(), Finding> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let holds = !board.name.is_empty() && board.name.chars().all(plain);
    require(holds, || {
        Finding::new("name", format!("name = {:?}", board.name), "lowercase letters, digits and '-'")
    })
}

fn description_is_one_line(board: &Board) -> Result<(), Finding> {
    let found = || format!("description = {:?}", board.description);
    require(is_one_line(&board.description), || Finding::new("description", found(), "one line of text"))
}

fn soc_is_one_line(board: &Board) -> Result<(), Finding> {
    require(is_one_line(&board.soc), || {
        Finding::new("soc", format!("soc = {:?}", board.soc), "one line of text")
    })
}

fn names_of_the_device_tree_are_plain(board: &Board) -> Result<(), Finding> {
    let is_plain = |part: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(plain)
    };
    let is_name =
        |name: &str| name.split_once(',').is_some_and(|(vendor, chip)| is_plain(vendor) && is_plain(chip));
    require(board.compatible.iter().all(|name| is_name(name)), || {
        let found = format!("compatible = {:?}", board.compatible);
        Finding::new("compatible", found, "vendor and chip of each, such as \"rockchip,rk3588\"")
    })
}

fn backends_are_listed_once(board: &Board) -> Result<(), Finding> {
    let found = || format!("backends = {:?}", board.backends);
    require(is_listed_once(&board.backends), || {
        Finding::new("backends", found(), "at least one backend, none twice")
    })
}

fn precisions_are_listed_once(board: &Board) -> Result<(), Finding> {
    let found = || format!("precisions = {:?}", board.precisions);
    require(is_listed_once(&board.precisions), || {
        Finding::new("precisions", found(), "at least one precision, none twice")
    })
}

fn an_npu_has_a_backend(board: &Board) -> Result<(), Finding> {
    let has_backend = board.backends.contains(&Backend::Rknn);
    let has_npu = board.npu.is_some();
    require(has_backend == has_npu, || {
        let found =
            format!("backends = {:?} and {} [npu]", board.backends, if has_npu { "an" } else { "no" });
        Finding::new("backends", found, "the backend rknn and [npu], or neither")
    })
}

fn only_the_host_has_no_target(board: &Board) -> Result<(), Finding> {
    let is_host = board.arch == Arch::Any;
    require(is_host == board.target.is_none(), || {
        let has = if board.target.is_some() { "a" } else { "no" };
        let found = format!("arch = {:?} and {has} [target]", board.arch);
        Finding::new("arch", found, "arch = \"any\" without [target], or another with it")
    })
}
