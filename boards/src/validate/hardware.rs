//! Checks of NPU, cameras, display, threads and budgets.

use super::{Check, Finding, is_listed_once, is_one_line, require};
use crate::Board;

pub const CHECKS: &[Check] = &[
    ("the chip is written as its compiler writes it", chip_is_plain),
    ("an NPU has cores", npu_has_cores),
    ("the load file is one of the NPU's driver", load_file_is_of_the_driver),
    ("cameras have drivers and formats", cameras_are_whole),
    ("the display has a driver", display_has_a_driver),
    ("stages run on cores of the board", threads_run_on_cores),
    ("budgets are for engines and precisions of the board", budgets_fit_the_board),
    ("budgets are plausible", budgets_are_plausible),
    ("a model has one budget", models_have_one_budget),
];

/// Processor cores of boards.
const CPU_CORES: std::ops::RangeInclusive<usize> = 1..=64;
/// Where the driver of Rockchip's NPUs tells their load: in debugfs, or in procfs where a kernel is built with that instead
/// (drivers/rknpu/rknpu_debugger.c of Rockchip's kernel). A file of any other name would be read as no load at all.
const LOAD_FILES: [&str; 2] = ["/sys/kernel/debug/rknpu/load", "/proc/rknpu/load"];

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

fn load_file_is_of_the_driver(board: &Board) -> Result<(), Finding> {
    let Some(file) = board.npu.as_ref().and_then(|npu| npu.load_file.as_deref()) else { return Ok(()) };
    let file = file.to_string_lossy();
    require(LOAD_FILES.contains(&&*file), || {
        let expected = format!("one of {}", LOAD_FILES.join(", "));
        Finding::new("npu.load_file", format!("load_file = {file:?}"), expected).meant(&file, LOAD_FILES)
    })
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
