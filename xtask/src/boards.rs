//! `cargo xtask boards`: the boards there are, as a table or as JSON. Knows no board by name.

use anyhow::{Context, Result};
use boards::{Board, Budget};

/// Arguments of `cargo xtask boards`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print every board whole, as JSON, instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a board file is wrong.
pub fn run(args: &Args) -> Result<()> {
    let boards = boards::names().map(Board::find).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&boards).context("cannot write JSON")?);
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
        format!("{:?}", board.tier).to_lowercase(),
        target.map_or_else(none, |target| target.triple.clone()),
        floor.map_or_else(none, |floor| floor.to_string()),
        board.npu.as_ref().map_or_else(none, |npu| format!("{} x{}", npu.chip, npu.cores)),
        words(joined(&board.backends)),
        words(joined(&board.flash.methods)),
        board.budgets.first().map_or_else(none, budget),
    ]
}

fn budget(budget: &Budget) -> String {
    let model = budget.models.first().map_or("", String::as_str);
    format!("{model} {} px {}/s", budget.input_px, budget.inference_fps)
}

/// Unit variants as their files spell them.
fn joined<T: std::fmt::Debug>(list: &[T]) -> String {
    list.iter().map(|item| format!("{item:?}").to_lowercase()).collect::<Vec<_>>().join(" ")
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
}
