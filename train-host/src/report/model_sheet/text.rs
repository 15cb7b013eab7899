//! The sheet as a table in plain text: columns as wide as what is in them. Never computes what it shows.

use std::fmt::Write as _;

use super::{ModelSheet, Row};
use crate::model::keyword;
use crate::model::outline::{Cost, From};
use crate::report::numbers::{gflops, grouped};

/// Space between columns.
const GAP: &str = "  ";

/// A line of cells; the first four are text, the others numbers.
type Cells = Vec<String>;

const TEXT_COLUMNS: usize = 4;

pub(super) fn table(sheet: &ModelSheet) -> String {
    let mut lines = vec![head(sheet)];
    lines.extend(sheet.layers.iter().map(|row| layer(sheet, row)));
    lines.push(total(sheet));
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = title(sheet);
    if sheet.trained.is_some() {
        text += &forms(&widths);
    }
    for line in &lines {
        text += &aligned(line, &widths);
    }
    text + &nodes(sheet)
}

fn title(sheet: &ModelSheet) -> String {
    let ModelSheet { model, classes, imgsz, .. } = sheet;
    let mut text = format!("{model}: {classes} classes, {imgsz}x{imgsz} px");
    for act in &sheet.activations {
        let _ = write!(text, ", {}", keyword(*act));
    }
    if let Some(block) = sheet.block {
        let _ = write!(text, ", {} blocks", keyword(block));
    }
    text + "\n\n"
}

fn head(sheet: &ModelSheet) -> Cells {
    let mut cells = words(&["#", "from", "module", "output"]);
    for _ in sheet.trained.iter().chain([&sheet.fused]) {
        cells.extend(words(&["parameters", "GFLOPs"]));
    }
    cells.push("share".to_owned());
    cells
}

fn layer(sheet: &ModelSheet, row: &Row) -> Cells {
    let from: Vec<String> = row.from.iter().map(source).collect();
    let outputs: Vec<String> = row.outputs.iter().map(|[c, h, w]| format!("{c}x{h}x{w}")).collect();
    let module =
        if row.repeats == 1 { row.module.clone() } else { format!("{} x{}", row.module, row.repeats) };
    let mut cells = vec![row.index.to_string(), from.join(","), module, outputs.join(" ")];
    let costs = sheet.trained.map(|_| row.trained).into_iter().chain([row.fused]);
    cells.extend(costs.flat_map(numbers));
    cells.push(format!("{:.1} %", row.share * 100.0));
    cells
}

fn total(sheet: &ModelSheet) -> Cells {
    let mut cells = words(&["", "", "total", ""]);
    cells.extend(sheet.trained.into_iter().chain([sheet.fused]).flat_map(|cost| numbers(Some(cost))));
    cells.push(String::new());
    cells
}

fn source(from: &From) -> String {
    match from {
        From::Image => "image".to_owned(),
        From::Layer(index) => index.to_string(),
    }
}

fn numbers(cost: Option<Cost>) -> [String; 2] {
    match cost {
        Some(cost) => [grouped(cost.parameters), gflops(cost.flops)],
        None => ["–".to_owned(), "–".to_owned()],
    }
}

/// "trained" and "fused" over the columns that are theirs.
fn forms(widths: &[usize]) -> String {
    let two = |at: usize| widths[at] + GAP.len() + widths[at + 1];
    let before: usize = widths[..TEXT_COLUMNS].iter().map(|width| width + GAP.len()).sum();
    format!(
        "{:before$}{:>trained$}{GAP}{:>fused$}\n",
        "",
        "trained",
        "fused",
        trained = two(TEXT_COLUMNS),
        fused = two(TEXT_COLUMNS + 2)
    )
}

fn aligned(line: &[String], widths: &[usize]) -> String {
    let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, &width))| {
        // Row numbers are numbers too.
        if column == 0 || column >= TEXT_COLUMNS {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    });
    let text = cells.collect::<Vec<_>>().join(GAP);
    format!("{}\n", text.trim_end())
}

fn nodes(sheet: &ModelSheet) -> String {
    match sheet.trained {
        Some(trained) => format!("\n{} nodes as trained, {} fused\n", trained.nodes, sheet.fused.nodes),
        None => format!("\n{} nodes\n", sheet.fused.nodes),
    }
}

fn words(words: &[&str]) -> Cells {
    words.iter().map(ToString::to_string).collect()
}
