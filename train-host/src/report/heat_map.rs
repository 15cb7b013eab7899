//! The confusion matrix as a heat map, each row divided by its sum. Never counts: `evaluate` did.

use plotters::element::Rectangle;
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, WHITE};

use super::canvas::{Area, INK, Surface, Text, Turned, Weight, color, draw, shorten, text_width};
use crate::Result;
use crate::evaluate::Confusion;

/// Above the cells: the plot's title.
const TOP: i32 = 80;
/// Beside the cells: space for the title of an axis.
const AXIS_TITLE: i32 = 56;
/// Between cells and names.
const GAP: i32 = 14;
const NAME_CHARACTERS: usize = 18;
const MISSED: &str = "missed";
const FALSE_ALARM: &str = "false alarm";
/// With more classes than this the numbers in the cells could not be read.
const READABLE_CLASSES: usize = 24;

/// Measures of the plot in SVG units.
#[derive(Debug, Clone, Copy)]
struct Measures {
    /// Left of the cells, for row names and the rows' title.
    left: i32,
    /// Side of a cell.
    cell: i32,
    /// Side of all cells.
    extent: i32,
    /// Below the cells, for column names and the columns' title.
    below: i32,
    /// Height of names.
    text: u32,
}

/// The matrix as an SVG document.
pub(super) fn svg(confusion: &Confusion, surface: Surface) -> Result<String> {
    let m = measures(confusion);
    let size = (m.left + m.extent + GAP, TOP + m.extent + m.below);
    draw((size.0.unsigned_abs(), size.1.unsigned_abs()), surface, |area| {
        paint(area, confusion, m).map_err(|e| e.to_string())
    })
}

fn measures(confusion: &Confusion) -> Measures {
    let side = i32::try_from(confusion.classes.len() + 1).unwrap_or(i32::MAX);
    let cell = (720 / side).clamp(14, 150);
    let text = (cell * 2 / 3).clamp(10, 30).unsigned_abs();
    let classes = confusion.classes.iter().map(|name| shorten(name, NAME_CHARACTERS));
    let longest = classes.map(|name| text_width(&name, text)).max().unwrap_or(0);
    Measures {
        left: AXIS_TITLE + GAP + longest.max(text_width(FALSE_ALARM, text)),
        cell,
        extent: cell.saturating_mul(side),
        below: GAP + longest.max(text_width(MISSED, text)) + AXIS_TITLE,
        text,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Shown,
    Omitted,
}

type Painted = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn paint(area: &Area<'_>, confusion: &Confusion, m: Measures) -> Painted {
    let title = Text { weight: Weight::Bold, ..Text::new(38) };
    area.draw_text("Confusion matrix, rows sum to 1", &title.style(), (20, 36))?;
    paint_titles(area, m)?;
    paint_names(area, confusion, m)?;
    let corners = [(m.left, TOP), (m.left + m.extent - 2, TOP + m.extent - 2)];
    area.draw(&Rectangle::new(corners, color(0).mix(0.05).filled()))?;
    let readable = confusion.classes.len() <= READABLE_CLASSES;
    let numbers = if readable { Numbers::Shown } else { Numbers::Omitted };
    for (row, counts) in (0i32..).zip(&confusion.counts) {
        let sum: u64 = counts.iter().sum();
        for (column, &count) in (0i32..).zip(counts).filter(|(_, count)| **count > 0) {
            let corner = (m.left + column * m.cell, TOP + row * m.cell);
            paint_cell(area, corner, m.cell, share(count, sum), numbers)?;
        }
    }
    Ok(())
}

fn paint_titles(area: &Area<'_>, m: Measures) -> Painted {
    let centered = Text { across: HPos::Center, color: INK.mix(0.7), ..Text::new(30) };
    let below = TOP + m.extent + m.below - AXIS_TITLE / 2;
    area.draw_text("detected as", &centered.style(), (m.left + m.extent / 2, below))?;
    let upwards = Text { turned: Turned::Up, ..centered };
    area.draw_text("labeled as", &upwards.style(), (AXIS_TITLE / 2, TOP + m.extent / 2))?;
    Ok(())
}

fn paint_names(area: &Area<'_>, confusion: &Confusion, m: Measures) -> Painted {
    let beside = Text { across: HPos::Right, ..Text::new(m.text) };
    let below = Text { turned: Turned::Up, ..beside };
    let rows = confusion.classes.iter().map(String::as_str).chain([FALSE_ALARM]);
    let columns = confusion.classes.iter().map(String::as_str).chain([MISSED]);
    for (at, (row, column)) in (0i32..).zip(rows.zip(columns)) {
        let middle = at * m.cell + m.cell / 2;
        let [row, column] = [row, column].map(|name| shorten(name, NAME_CHARACTERS));
        area.draw_text(&row, &beside.style(), (m.left - GAP, TOP + middle))?;
        area.draw_text(&column, &below.style(), (m.left + middle, TOP + m.extent + GAP))?;
    }
    Ok(())
}

/// One cell, the stronger in color the larger its share of the row.
fn paint_cell(area: &Area<'_>, corner: (i32, i32), cell: i32, share: f64, numbers: Numbers) -> Painted {
    let opposite = (corner.0 + cell - 2, corner.1 + cell - 2);
    area.draw(&Rectangle::new([corner, opposite], color(0).mix(0.1 + 0.9 * share).filled()))?;
    if numbers == Numbers::Shown && share >= 0.005 {
        let ink: RGBColor = if share > 0.5 { WHITE } else { INK };
        let height = (cell / 3).clamp(12, 34).unsigned_abs();
        let text = Text { across: HPos::Center, color: ink.to_rgba(), ..Text::new(height) };
        area.draw_text(&format!("{share:.2}"), &text.style(), (corner.0 + cell / 2, corner.1 + cell / 2))?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^53")]
fn share(count: u64, sum: u64) -> f64 {
    if sum == 0 { 0.0 } else { count as f64 / sum as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(classes: usize) -> Confusion {
        let names = (0..classes).map(|c| format!("class <{c}>")).collect();
        let counts =
            (0..=classes).map(|row| (0..=classes).map(|column| u64::from(row == column) * 3).collect());
        Confusion { classes: names, counts: counts.collect() }
    }

    #[test]
    fn cells_with_counts_are_drawn_and_names_are_escaped() {
        let svg = svg(&confusion(3), Surface::Page).unwrap();
        assert_eq!(svg.matches("<rect").count(), 4 + 1);
        assert!(svg.contains("class &lt;0&gt;") && svg.contains("false alarm"));
        assert_eq!(svg.matches("1.00").count(), 4);
    }

    #[test]
    fn many_classes_lose_the_numbers_not_the_cells() {
        let svg = svg(&confusion(80), Surface::File).unwrap();
        assert_eq!(svg.matches("1.00").count(), 0);
        assert_eq!(svg.matches("<rect").count(), 81 + 1 + 1);
    }

    #[test]
    fn an_empty_row_is_zero() {
        assert_eq!(share(0, 0), 0.0);
        assert_eq!(share(1, 4), 0.25);
    }
}
