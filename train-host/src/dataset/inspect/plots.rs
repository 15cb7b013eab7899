//! Label plots as one SVG: how often each class occurs, how wide and high boxes are, and where they lie.

use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, HSLColor, IntoFont, RGBColor, TextStyle, WHITE};

use super::to_f64;
use crate::dataset::{Dataset, LabelBox};
use crate::{Error, Result};

const PANEL: (i32, i32) = (520, 480);
/// The most frequent classes get a bar; more would be unreadable.
const BARS: usize = 25;
/// More points than this only make the file large.
const POINTS: usize = 4000;
/// Cells of the heat map along each axis.
const CELLS: usize = 32;
const INK: RGBColor = RGBColor(40, 40, 40);
const HEAT: RGBColor = RGBColor(37, 99, 235);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Writes the plots of `dataset` to `path`.
///
/// # Errors
/// [`Error::Artifact`] when the file cannot be written; [`Error::Data`] when plotters refuses the values.
pub(super) fn write(path: &Path, dataset: &Dataset) -> Result<()> {
    let svg = draw(dataset).map_err(|e| {
        Error::data(
            format!("label plots: {e}"),
            "labels that can be plotted",
            "report this: the labels were checked before",
        )
    })?;
    Ok(artifact::atomic::write(path, svg.as_bytes())?)
}

fn draw(dataset: &Dataset) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let labels: Vec<&LabelBox> = dataset.samples.iter().flat_map(|sample| &sample.boxes).collect();
    let mut svg = String::new();
    {
        let size = (PANEL.0.unsigned_abs() * 3, PANEL.1.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let panels = area.split_evenly((1, 3));
        class_bars(&panels[0], &dataset.classes, &labels)?;
        box_sizes(&panels[1], &labels)?;
        centers(&panels[2], &labels)?;
        area.present()?;
    }
    Ok(svg)
}

/// The color a class also has on pictures: hues a golden ratio apart, as `repedge::draw::class_color`.
fn class_color(class: usize) -> HSLColor {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    HSLColor((to_f64(class) * GOLDEN).fract(), 0.9, 0.45)
}

fn class_bars(panel: &Panel<'_>, classes: &[String], labels: &[&LabelBox]) -> Drawn {
    let mut counts: Vec<(usize, usize)> = (0..classes.len()).map(|class| (class, 0)).collect();
    for label in labels {
        counts[label.class].1 += 1;
    }
    if classes.len() > BARS {
        counts.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
        counts.truncate(BARS);
    }
    let title = if classes.len() > BARS { "labels of the most frequent classes" } else { "labels by class" };
    let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0).max(1);
    heading(panel, title)?;
    let (left, right, top) = (150, PANEL.0 - 70, 44);
    let bars = i32::try_from(counts.len())?.max(1);
    let pitch = ((PANEL.1 - top - 20) / bars).clamp(10, 48);
    let names = text(HPos::Right);
    let numbers = text(HPos::Left);
    for (row, &(class, count)) in (0..bars).zip(&counts) {
        let y = top + row * pitch;
        let end =
            left + i32::try_from(i64::from(right - left) * i64::try_from(count)? / i64::try_from(most)?)?;
        let bar =
            Rectangle::new([(left, y + pitch / 8), (end, y + pitch * 7 / 8)], class_color(class).filled());
        panel.draw(&bar)?;
        panel.draw(&Text::new(shortened(&classes[class]), (left - 8, y + pitch / 2), &names))?;
        panel.draw(&Text::new(count.to_string(), (end + 6, y + pitch / 2), &numbers))?;
    }
    Ok(())
}

fn box_sizes(panel: &Panel<'_>, labels: &[&LabelBox]) -> Drawn {
    heading(panel, "box width and height")?;
    let mut chart = ChartBuilder::on(panel)
        .margin(24)
        .margin_top(40)
        .x_label_area_size(38)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..1.0_f64, 0.0..1.0_f64)?;
    chart
        .configure_mesh()
        .x_desc("fraction of the image's width")
        .y_desc("fraction of the image's height")
        .x_labels(6)
        .y_labels(6)
        .light_line_style(WHITE)
        .axis_style(INK.mix(0.5))
        .draw()?;
    let step = labels.len().div_ceil(POINTS).max(1);
    chart.draw_series(labels.iter().step_by(step).map(|label| {
        let at = (f64::from(label.w), f64::from(label.h));
        Circle::new(at, 3, class_color(label.class).mix(0.55).filled())
    }))?;
    Ok(())
}

fn centers(panel: &Panel<'_>, labels: &[&LabelBox]) -> Drawn {
    heading(panel, "where box centers lie")?;
    let mut counts = [[0_usize; CELLS]; CELLS];
    for label in labels {
        counts[cell(label.cy)][cell(label.cx)] += 1;
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let side = (PANEL.0.min(PANEL.1) - 80) / i32::try_from(CELLS)?;
    let (left, top) = ((PANEL.0 - side * i32::try_from(CELLS)?) / 2, 50);
    for (y, row) in (0..).zip(&counts) {
        for (x, &count) in (0..).zip(row).filter(|(_, count)| **count > 0) {
            let corner = (left + x * side, top + y * side);
            let color = HEAT.mix(0.08 + 0.92 * to_f64(count) / to_f64(most));
            panel.draw(&Rectangle::new([corner, (corner.0 + side, corner.1 + side)], color.filled()))?;
        }
    }
    let all = side * i32::try_from(CELLS)?;
    panel.draw(&Rectangle::new([(left, top), (left + all, top + all)], INK.mix(0.5)))?;
    let note = format!("darkest: {most} of {} in one of {CELLS} × {CELLS} cells", labels.len());
    panel.draw(&Text::new(note, (PANEL.0 / 2, top + all + 14), text(HPos::Center)))?;
    Ok(())
}

/// The cell of the heat map that a fraction falls into.
fn cell(fraction: f32) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels lie in 0..=1")]
    let cell = (f64::from(fraction) * to_f64(CELLS)) as usize;
    cell.min(CELLS - 1)
}

fn heading(panel: &Panel<'_>, title: &str) -> Drawn {
    let style =
        TextStyle::from(("sans-serif", 18).into_font()).color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    Ok(panel.draw(&Text::new(title.to_owned(), (PANEL.0 / 2, 12), &style))?)
}

fn text(across: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 13).into_font()).color(&INK).pos(Pos::new(across, VPos::Center))
}

/// Names that fit beside a bar.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 18;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Sample;

    fn dataset(classes: usize, labels: usize) -> Dataset {
        let label = |i: usize| LabelBox { class: i % classes, cx: 1.0, cy: 0.0, w: 0.5, h: 0.25 };
        Dataset {
            classes: (0..classes).map(|i| format!("class <{i}>")).collect(),
            samples: vec![Sample {
                image: "a.jpg".into(),
                width_px: 10,
                height_px: 10,
                boxes: (0..labels).map(label).collect(),
            }],
            ..Dataset::default()
        }
    }

    #[test]
    fn any_number_of_classes_and_labels_is_drawn() {
        for (classes, labels) in [(1, 0), (3, 7), (80, 9000)] {
            let svg = draw(&dataset(classes, labels)).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("class &lt;0&gt;"), "names are escaped");
            assert!(svg.len() < 2_000_000);
        }
    }
}
