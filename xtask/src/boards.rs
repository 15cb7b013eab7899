//! `cargo xtask boards`: the boards there are, as a table or as JSON, or all that is known of one. Knows no board by name.

use anyhow::{Context, Result};
use boards::{Board, Budget, Camera, Clock};
use serde::Serialize;

/// Arguments of `cargo xtask boards`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say all about this board [default: a line about each].
    board: Option<String>,
    /// Print boards whole, as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a board file is wrong, or there is no such board.
pub fn run(args: &Args) -> Result<()> {
    let boards = match &args.board {
        Some(name) => vec![Board::find(name)?],
        None => boards::names().map(Board::find).collect::<Result<Vec<_>, _>>()?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&boards).context("cannot write JSON")?);
    } else if args.board.is_some() {
        boards.iter().for_each(|board| print!("{}", sheet(board)));
    } else {
        print!("{}", table(&boards));
    }
    Ok(())
}

fn table(boards: &[Board]) -> String {
    let head = ["board", "tier", "target", "glibc", "NPU", "engines", "flash", "budget"].map(String::from);
    let rows: Vec<_> = std::iter::once(head).chain(boards.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(board: &Board) -> [String; 8] {
    let none = || "-".to_owned();
    let words = |list: String| if list.is_empty() { none() } else { list };
    let target = board.target.as_ref();
    let floor = target.and_then(|target| target.glibc_floor);
    [
        board.name.clone(),
        word(&board.tier),
        target.map_or_else(none, |target| target.triple.clone()),
        floor.map_or_else(none, |floor| floor.to_string()),
        board.npu.as_ref().map_or_else(none, |npu| format!("{} x{}", npu.chip, npu.cores)),
        words(joined(&board.backends)),
        words(joined(&board.flash.methods)),
        board.budgets.first().map_or_else(none, budget),
    ]
}

/// A line for each thing that is on the board, and for each that is asked of it.
fn sheet(board: &Board) -> String {
    let lines = identity(board).into_iter().chain(hardware(board)).chain(demands(board));
    let lines: String = lines.map(|(name, fact)| format!("  {name:<11}{fact}\n")).collect();
    format!("{}: {}\n{lines}", board.name, board.description)
}

type Fact = (&'static str, String);

fn identity(board: &Board) -> Vec<Fact> {
    let mut facts = vec![("chip", board.soc.clone()), ("tier", word(&board.tier))];
    if let Some(target) = &board.target {
        let floor = target.glibc_floor.map_or_else(String::new, |floor| format!(", glibc {floor} or newer"));
        facts.push(("target", format!("{}{floor}", target.triple)));
    }
    if !board.compatible.is_empty() {
        facts.push(("compatible", board.compatible.join(", ")));
    }
    facts.push(("engines", joined(&board.backends)));
    facts.push(("precisions", joined(&board.precisions)));
    facts
}

fn hardware(board: &Board) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(npu) = &board.npu {
        facts.push(("NPU", format!("{} x{}", npu.chip, npu.cores)));
        facts.push(("runtime", format!("{} {} or newer", npu.runtime_library, npu.minimum_runtime)));
        facts.extend(npu.load_file.iter().map(|file| ("NPU load", file.display().to_string())));
    }
    facts.extend(board.cameras.iter().map(|camera| ("camera", describe_camera(camera))));
    facts.extend(
        board.display.iter().map(|display| ("display", format!("DRM driver {}", display.drm_driver))),
    );
    facts
}

fn demands(board: &Board) -> Vec<Fact> {
    let clocks = board.clocks.iter().map(|(name, clock)| ("clock", describe_clock(name, clock)));
    let methods = Some(joined(&board.flash.methods)).filter(|methods| !methods.is_empty());
    let methods = methods.into_iter().map(|methods| ("flash", methods));
    let budgets = board.budgets.iter().map(|it| ("budget", describe_budget(it)));
    clocks.chain(methods).chain(budgets).collect()
}

fn describe_camera(camera: &Camera) -> String {
    format!("{} by {}, gives {}", camera.driver, word(&camera.bus), joined(&camera.formats))
}

fn describe_clock(name: &str, clock: &Clock) -> String {
    let asked = match (clock.frequency_mhz, &clock.governor) {
        (Some(mhz), _) => format!("{mhz} MHz"),
        (None, Some(governor)) => governor.clone(),
        (None, None) => "as it is".into(),
    };
    format!("{name} at {asked}: {}", clock.path.display())
}

fn describe_budget(it: &Budget) -> String {
    let [activation, precision, engine] = [word(&it.activation), word(&it.precision), word(&it.backend)];
    format!("{} with {activation} in {precision} by {engine}", budget(it))
}

fn budget(budget: &Budget) -> String {
    let model = budget.models.first().map_or("", String::as_str);
    format!("{model} {} px {}/s", budget.input_px, budget.inference_fps)
}

/// Unit variants as their files spell them, one after the other.
fn joined<T: Serialize>(list: &[T]) -> String {
    list.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A unit variant as its file spells it.
fn word<T: Serialize>(item: &T) -> String {
    serde_json::to_value(item).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_has_a_line() {
        let boards: Vec<_> = boards::names().map(|name| Board::find(name).unwrap()).collect();
        let table = table(&boards);
        assert_eq!(table.lines().count(), 1 + boards.len());
        let line = table.lines().find(|line| line.starts_with("rk3588 ")).unwrap();
        for word in
            ["built", "aarch64-unknown-linux-gnu", "2.31", "rk3588 x3", "rknn tract", "ssh usb sd", "82.5/s"]
        {
            assert!(line.contains(word), "{word} in {line}");
        }
    }

    #[test]
    fn a_sheet_tells_what_is_on_a_board_and_what_is_asked_of_it() {
        let sheet_of = |name: &str| sheet(&Board::find(name).unwrap());
        let rk3588 = sheet_of("rk3588");
        for line in [
            "  compatible rockchip,rk3588",
            "  NPU        rk3588 x3",
            "  runtime    librknnrt.so 2.5 or newer",
            "  NPU load   /sys/kernel/debug/rknpu/load",
            "  camera     rkisp by mipi-csi, gives nv12",
            "  display    DRM driver rockchip",
            "  precisions int8 fp16",
            "  clock      npu at 1000 MHz: /sys/class/devfreq/fdab0000.npu",
            "  budget     yolov5s 640 px 48.4/s with silu in int8 by rknn",
            "  budget     repyolov5p 160 px 82.5/s with silu in int8 by rknn",
            "  budget     repyolov5p 160 px 6.2/s with silu in int8 by tract",
        ] {
            assert!(rk3588.lines().any(|found| found == line), "no {line:?} in {rk3588}");
        }
        assert!(sheet_of("rpi5").contains("cpu0 at performance: "));
        let host = sheet_of("host");
        assert!(
            !host.contains("NPU  ")
                && !host.contains("compatible")
                && !host.contains("flash")
                && host.contains("uvcvideo by usb"),
            "{host}"
        );
    }
}
