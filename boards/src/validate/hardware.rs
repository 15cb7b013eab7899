//! Checks of NPU, cameras, display, clocks and budgets.

use std::path::{Component, Path};

use super::{Check, Finding, is_listed_once, is_one_line, require};
use crate::{Board, Clock, ClockKind};

pub const CHECKS: &[Check] = &[
    ("the chip is written as its compiler writes it", chip_is_plain),
    ("an NPU has cores", npu_has_cores),
    ("the load file is below /sys", load_file_is_in_sys),
    ("cameras have drivers and formats", cameras_are_whole),
    ("the display has a driver", display_has_a_driver),
    ("clock paths are where the kernel has them", clock_paths_exist_in_the_kernel),
    ("clocks have a frequency or a governor that chooses one", clocks_are_settable),
    ("frequencies are in MHz", frequencies_are_plausible),
    ("stages run on cores of the board", threads_run_on_cores),
    ("budgets are for engines and precisions of the board", budgets_fit_the_board),
    ("budgets are plausible", budgets_are_plausible),
    ("a model has one budget", models_have_one_budget),
];

/// Bounds of clocks that boards have; one given in kHz or Hz lies far outside.
const CLOCK_MHZ: std::ops::RangeInclusive<u32> = 10..=10_000;
/// Processor cores of boards.
const CPU_CORES: std::ops::RangeInclusive<usize> = 1..=64;
/// Governors that take a frequency, and those that choose one.
const GOVERNORS: [&str; 4] = ["userspace", "performance", "powersave", "ondemand"];

fn chip_is_plain(board: &Board) -> Result<(), Finding> {
    let Some(npu) = &board.npu else { return Ok(()) };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let holds = !npu.chip.is_empty() && npu.chip.chars().all(plain);
    require(holds, || Finding::new("npu.chip", format!("chip = {:?}", npu.chip), "such as \"rk3588\""))
}

fn npu_has_cores(board: &Board) -> Result<(), Finding> {
    let Some(npu) = &board.npu else { return Ok(()) };
    let found = || format!("cores = {}", npu.cores);
    require((1..=16).contains(&npu.cores), || Finding::new("npu.cores", found(), "1 to 16"))
}

fn load_file_is_in_sys(board: &Board) -> Result<(), Finding> {
    let Some(file) = board.npu.as_ref().and_then(|npu| npu.load_file.as_deref()) else { return Ok(()) };
    let found = || format!("load_file = {file:?}");
    require(is_below(file, "/sys/"), || Finding::new("npu.load_file", found(), "a path below /sys"))
}

fn cameras_are_whole(board: &Board) -> Result<(), Finding> {
    for (index, camera) in board.cameras.iter().enumerate() {
        let key = |name: &str| format!("camera.{index}.{name}");
        let found = || format!("driver = {:?}", camera.driver);
        require(is_one_line(&camera.driver), || {
            Finding::new(key("driver"), found(), "the name of a driver")
        })?;
        let found = || format!("formats = {:?}", camera.formats);
        require(is_listed_once(&camera.formats), || {
            Finding::new(key("formats"), found(), "at least one format, none twice")
        })?;
    }
    Ok(())
}

fn display_has_a_driver(board: &Board) -> Result<(), Finding> {
    let Some(display) = &board.display else { return Ok(()) };
    let found = || format!("drm_driver = {:?}", display.drm_driver);
    require(is_one_line(&display.drm_driver), || {
        Finding::new("display.drm_driver", found(), "the name of a driver")
    })
}

fn threads_run_on_cores(board: &Board) -> Result<(), Finding> {
    let Some(threads) = &board.threads else { return Ok(()) };
    let count = threads.cores;
    require(CPU_CORES.contains(&count), || {
        Finding::new("threads.cores", format!("cores = {count}"), "1 to 64")
    })?;
    for (stage, cores) in threads.named() {
        let holds = is_listed_once(cores) && cores.iter().all(|core| *core < count);
        require(holds, || {
            let expected = format!("at least one core of 0 to {}, none twice", count - 1);
            Finding::new(format!("threads.{stage}"), format!("{stage} = {cores:?}"), expected)
        })?;
    }
    Ok(())
}

fn clock_paths_exist_in_the_kernel(board: &Board) -> Result<(), Finding> {
    for (name, clock) in &board.clocks {
        let prefix = clock.kind.path_prefix();
        require(is_below(&clock.path, prefix), || {
            let finding = Finding::new(
                format!("clocks.{name}.path"),
                format!("path = {:?}", clock.path),
                format!("{prefix}…, where the kernel has clocks of this kind"),
            );
            finding.help(meant_path(clock))
        })?;
    }
    Ok(())
}

/// What a wrong path was meant to be: its last name below the right folder, or the kind that has such paths.
fn meant_path(clock: &Clock) -> String {
    let kinds = [(ClockKind::Cpufreq, "cpufreq"), (ClockKind::Devfreq, "devfreq"), (ClockKind::Clk, "clk")];
    if let Some((_, name)) = kinds.iter().find(|(kind, _)| is_below(&clock.path, kind.path_prefix())) {
        return format!("did you mean kind = {name:?}?");
    }
    let last = clock.path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = clock.kind.path_prefix();
    let folder = prefix.rsplit_once('/').map_or(prefix, |(folder, _)| folder);
    format!("did you mean \"{folder}/{last}\"?")
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

fn budgets_fit_the_board(board: &Board) -> Result<(), Finding> {
    for (index, budget) in board.budgets.iter().enumerate() {
        let key = |name: &str| format!("budget.{index}.{name}");
        require(board.backends.contains(&budget.backend), || {
            let found = format!("backend = {:?}", budget.backend);
            Finding::new(key("backend"), found, format!("one of {:?}", board.backends))
        })?;
        require(board.precisions.contains(&budget.precision), || {
            let found = format!("precision = {:?}", budget.precision);
            Finding::new(key("precision"), found, format!("one of {:?}", board.precisions))
        })?;
        let cores = board.npu.as_ref().map_or(0, |npu| npu.cores);
        let on_npu = budget.backend == crate::Backend::Rknn;
        let holds = budget.npu_cores.map_or(!on_npu, |count| on_npu && (1..=cores).contains(&count));
        require(holds, || {
            let found = format!("npu_cores = {:?} with backend = {:?}", budget.npu_cores, budget.backend);
            Finding::new(key("npu_cores"), found, format!("1 to {cores} with the backend rknn, else none"))
        })?;
    }
    Ok(())
}

fn budgets_are_plausible(board: &Board) -> Result<(), Finding> {
    for (index, budget) in board.budgets.iter().enumerate() {
        let key = |name: &str| format!("budget.{index}.{name}");
        let named = is_listed_once(&budget.models) && budget.models.iter().all(|model| is_one_line(model));
        let found = || format!("models = {:?}", budget.models);
        require(named, || Finding::new(key("models"), found(), "at least one model, none twice"))?;
        let sized = (32..=4096).contains(&budget.input_px) && budget.input_px.is_multiple_of(32);
        let found = || format!("input_px = {}", budget.input_px);
        require(sized, || Finding::new(key("input_px"), found(), "a multiple of 32 up to 4096"))?;
        let fast = budget.inference_fps > 0.0 && budget.inference_fps < 100_000.0;
        let found = || format!("inference_fps = {}", budget.inference_fps);
        require(fast, || Finding::new(key("inference_fps"), found(), "frames a second, above 0"))?;
    }
    Ok(())
}

/// Two that fit the same model would leave one without a meaning.
fn models_have_one_budget(board: &Board) -> Result<(), Finding> {
    for (index, budget) in board.budgets.iter().enumerate() {
        let is_taken = |model: &&String| {
            let mut before = board.budgets[..index].iter();
            before.any(|other| other.fits(model, budget.input_px, budget.precision, budget.backend))
        };
        let Some(model) = budget.models.iter().find(is_taken) else { continue };
        let found = format!("a second budget of {model} at {} px with {:?}", budget.input_px, budget.backend);
        let finding =
            Finding::new(format!("budget.{index}.models"), found, "one for each size, precision and engine");
        return Err(finding.help("keep the slowest: a bundle does not tell its activation"));
    }
    Ok(())
}

/// Whether a path begins like this, goes on, and goes nowhere else.
fn is_below(path: &Path, prefix: &str) -> bool {
    let goes_on =
        path.to_str().and_then(|path| path.strip_prefix(prefix)).is_some_and(|rest| !rest.is_empty());
    goes_on && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}
