//! Checks of the clocks that are fixed while speed is measured: a wrong path would leave one unset, and say so only on the board.

use std::path::{Path, PathBuf};

use super::{Check, Finding, require};
use crate::{Board, Clock, ClockKind, Domain};

pub const CHECKS: &[Check] = &[
    ("clock paths are where the kernel has them", clock_paths_exist_in_the_kernel),
    ("clocks drive what their path says", clocks_drive_what_their_path_says),
    ("clocks have a frequency or a governor that chooses one", clocks_are_settable),
    ("frequencies are in MHz", frequencies_are_plausible),
];

/// Bounds of clocks that boards have; one given in kHz or Hz lies far outside.
const CLOCK_MHZ: std::ops::RangeInclusive<u32> = 10..=10_000;
/// Governors that take a frequency, and those that choose one.
const GOVERNORS: [&str; 4] = ["userspace", "performance", "powersave", "ondemand"];
/// Kinds of clocks as a board's file has them.
const KINDS: [(ClockKind, &str); 3] =
    [(ClockKind::Cpufreq, "cpufreq"), (ClockKind::Devfreq, "devfreq"), (ClockKind::Clk, "clk")];

fn clock_paths_exist_in_the_kernel(board: &Board) -> Result<(), Finding> {
    for (name, clock) in &board.clocks {
        require(is_clock(clock.kind, &clock.path), || {
            let what = match clock.kind {
                ClockKind::Cpufreq => "N, with the first core of a group for N",
                ClockKind::Devfreq | ClockKind::Clk => "NAME, with the name of one device",
            };
            let expected = format!("{}{what}, and nothing below it", clock.kind.path_prefix());
            let found = format!("path = {:?}", clock.path);
            Finding::new(format!("clocks.{name}.path"), found, expected).help(meant_path(clock))
        })?;
    }
    Ok(())
}

/// Whether the kernel may have a clock of this kind there: behind its folder stands the number of a policy, or the name of a device.
fn is_clock(kind: ClockKind, path: &Path) -> bool {
    let Some(rest) = path.to_str().and_then(|path| path.strip_prefix(kind.path_prefix())) else {
        return false;
    };
    match kind {
        ClockKind::Cpufreq => !rest.is_empty() && rest.bytes().all(|digit| digit.is_ascii_digit()),
        ClockKind::Devfreq | ClockKind::Clk => !matches!(rest, "" | "." | "..") && !rest.contains('/'),
    }
}

/// What a wrong path was meant to be: of another kind, a clock and not a file of it, or its last name below the right folder.
fn meant_path(clock: &Clock) -> String {
    if let Some((_, name)) = KINDS.iter().find(|(kind, _)| is_clock(*kind, &clock.path)) {
        return format!("did you mean kind = {name:?}?");
    }
    let (folder, _) = clock.kind.path_prefix().rsplit_once('/').unwrap_or_default();
    let is_as_deep = |moved: &PathBuf| moved.components().count() == clock.path.components().count();
    let moved = clock.path.file_name().map(|last| Path::new(folder).join(last)).filter(is_as_deep);
    let mut candidates = clock.path.ancestors().chain(moved.as_deref());
    match candidates.find(|path| is_clock(clock.kind, path)) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("`ls {folder}` on the board names them"),
    }
}

fn clocks_drive_what_their_path_says(board: &Board) -> Result<(), Finding> {
    for (name, clock) in &board.clocks {
        let driven = driven(clock);
        require(driven.contains(&clock.domain), || {
            let key = |domain: Domain| format!("domain = {:?}", word(domain));
            let found = format!("{} with path = {:?}", key(clock.domain), clock.path);
            let fitting: Vec<_> = driven.iter().copied().map(key).collect();
            let finding = Finding::new(format!("clocks.{name}.domain"), found, fitting.join(" or "));
            finding.help("the domain or the path was copied from another clock: change that one")
        })?;
    }
    Ok(())
}

/// A domain as a board's file has it.
fn word(domain: Domain) -> &'static str {
    match domain {
        Domain::Cpu => "cpu",
        Domain::Npu => "npu",
        Domain::Ddr => "ddr",
    }
}

/// What a clock may drive by its path: cpufreq has the processor's cores and nothing else, and devices of devfreq end in their name,
/// as /sys/class/devfreq/fdab0000.npu. Names of clk say nothing of it.
fn driven(clock: &Clock) -> &'static [Domain] {
    match (clock.kind, clock.path.to_str().and_then(|path| path.rsplit(['/', '.']).next())) {
        (ClockKind::Cpufreq, _) => &[Domain::Cpu],
        (ClockKind::Devfreq, Some("npu")) => &[Domain::Npu],
        (ClockKind::Devfreq, Some("dmc")) => &[Domain::Ddr],
        (ClockKind::Devfreq, _) => &[Domain::Npu, Domain::Ddr],
        (ClockKind::Clk, _) => &[Domain::Cpu, Domain::Npu, Domain::Ddr],
    }
}

fn clocks_are_settable(board: &Board) -> Result<(), Finding> {
    for (name, clock) in &board.clocks {
        let key = format!("clocks.{name}.governor");
        let stated = format!("governor = {:?}, frequency_mhz = {:?}", clock.governor, clock.frequency_mhz);
        match (clock.kind, clock.governor.as_deref(), clock.frequency_mhz) {
            (ClockKind::Clk, None, Some(_)) => {}
            (ClockKind::Clk, ..) => return Err(Finding::new(key, stated, "a frequency and no governor")),
            (_, Some("userspace"), Some(_)) => {}
            (_, Some(governor), None) if governor != "userspace" => {
                require(GOVERNORS.contains(&governor), || {
                    let expected = format!("one of {}", GOVERNORS.join(", "));
                    Finding::new(key, format!("governor = {governor:?}"), expected).meant(governor, GOVERNORS)
                })?;
            }
            _ => {
                let expected = "the governor userspace and a frequency, or another governor and none";
                return Err(Finding::new(key, stated, expected));
            }
        }
    }
    Ok(())
}

fn frequencies_are_plausible(board: &Board) -> Result<(), Finding> {
    for (name, clock) in &board.clocks {
        let Some(mhz) = clock.frequency_mhz.filter(|mhz| !CLOCK_MHZ.contains(mhz)) else { continue };
        let key = format!("clocks.{name}.frequency_mhz");
        let (low, high) = (CLOCK_MHZ.start(), CLOCK_MHZ.end());
        let finding = Finding::new(&*key, format!("{key} = {mhz}"), format!("{low} to {high} MHz"));
        let in_mhz =
            [1_000, 1_000_000].map(|unit| mhz / unit).into_iter().find(|mhz| CLOCK_MHZ.contains(mhz));
        return Err(match in_mhz {
            Some(meant) => finding.help(format!("was it given in kHz or Hz? did you mean {meant}?")),
            None => finding,
        });
    }
    Ok(())
}
