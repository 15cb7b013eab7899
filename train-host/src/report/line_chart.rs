//! Curves over one axis: losses over epochs, precision over recall. Never computes what it draws.

use plotters::chart::ChartBuilder;
use plotters::element::{Circle, Rectangle};
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::canvas::{Area, INK, Surface, Text, Weight, draw, text_width};
use crate::Result;

/// Width of a chart in SVG units; the page scales it to its column.
const WIDTH: u32 = 1040;
/// Height of a chart over epochs.
const HEIGHT: u32 = 660;
const TITLE_HEIGHT: u32 = 38;
const LABEL_HEIGHT: u32 = 30;
/// Series of fewer points get a mark at each: a line through one point cannot be seen.
const FEW_POINTS: usize = 12;

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// Name in the legend; a series without a name is drawn but not listed.
    pub name: Option<String>,
    pub points: Vec<(f64, f64)>,
    pub color: RGBColor,
    /// Opacity 0..1.
    pub opacity: f64,
    /// Width of the line in SVG units.
    pub width: u32,
}

/// A chart of several curves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LineChart {
    pub title: String,
    pub x_title: String,
    /// Ends of the horizontal axis.
    pub x_range: (f64, f64),
    /// Upper end of the vertical axis, which starts at 0.
    pub y_top: f64,
    /// Height of the chart in SVG units.
    pub height: u32,
    pub series: Vec<Series>,
}

impl LineChart {
    /// A chart whose axes fit its curves; `None` when there is no point to draw.
    pub fn fitting(title: &str, x_title: &str, series: Vec<Series>) -> Option<Self> {
        let points = || series.iter().flat_map(|s| &s.points);
        let first = *points().next()?;
        let x_range = points().fold((first.0, first.0), |(low, high), p| (low.min(p.0), high.max(p.0)));
        let top = points().fold(0.0f64, |top, p| top.max(p.1));
        Some(Self {
            title: title.to_owned(),
            x_title: x_title.to_owned(),
            x_range: if x_range.0 < x_range.1 { x_range } else { (x_range.0 - 1.0, x_range.0 + 1.0) },
            y_top: if top > 0.0 { top * 1.05 } else { 1.0 },
            height: HEIGHT,
            series,
        })
    }

    /// Sets the upper end of the vertical axis.
    pub fn with_top(mut self, y_top: f64) -> Self {
        self.y_top = y_top;
        self
    }

    /// Makes the chart as high as it is wide.
    pub fn square(mut self) -> Self {
        self.height = WIDTH;
        self
    }

    /// The chart as an SVG document.
    pub fn svg(&self, surface: Surface) -> Result<String> {
        draw((WIDTH, self.height), surface, |area| self.paint(area).map_err(|e| e.to_string()))
    }

    fn paint(&self, area: &Area<'_>) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (header, body) = area.split_vertically(110);
        let title = Text { weight: Weight::Bold, ..Text::new(TITLE_HEIGHT) };
        header.draw_text(&self.title, &title.style(), (20, 28))?;
        self.paint_legend(&header)?;

        let mut chart = ChartBuilder::on(&body)
            .margin_right(30)
            .margin_left(10)
            .x_label_area_size(90)
            .y_label_area_size(110)
            .build_cartesian_2d(self.x_range.0..self.x_range.1, 0.0..self.y_top)?;
        let label = Text::new(LABEL_HEIGHT).style();
        chart
            .configure_mesh()
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(INK.mix(0.0))
            .label_style(label)
            .x_desc(self.x_title.as_str())
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| short_number(*x))
            .y_label_formatter(&|y| short_number(*y))
            .draw()?;
        for series in &self.series {
            let style = series.color.mix(series.opacity).stroke_width(series.width);
            chart.draw_series(LineSeries::new(series.points.iter().copied(), style))?;
            if series.points.len() < FEW_POINTS {
                let dot = |&point: &(f64, f64)| Circle::new(point, 6, series.color.filled());
                chart.draw_series(series.points.iter().map(dot))?;
            }
        }
        Ok(())
    }

    /// A row of colored marks and names under the title.
    fn paint_legend(
        &self,
        header: &Area<'_>,
    ) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut x = 20;
        for series in &self.series {
            let Some(name) = &series.name else { continue };
            let swatch: ShapeStyle = series.color.filled();
            header.draw(&Rectangle::new([(x, 74), (x + 34, 82)], swatch))?;
            header.draw_text(name, &Text::new(LABEL_HEIGHT).style(), (x + 44, 78))?;
            x += 44 + text_width(name, LABEL_HEIGHT) + 40;
        }
        Ok(())
    }
}

/// A number for an axis: as few digits as tell it apart.
fn short_number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (20.0, "20"), (0.25, "0.25"), (1.0, "1"), (0.0002, "2e-4"), (0.01, "0.01")]
        {
            assert_eq!(short_number(value), text);
        }
    }

    #[test]
    fn one_epoch_is_a_visible_point_and_no_epoch_is_no_chart() {
        let series =
            |points| Series { name: Some("loss".into()), points, color: INK, opacity: 1.0, width: 3 };
        assert_eq!(LineChart::fitting("t", "epoch", vec![series(vec![])]), None);
        let chart = LineChart::fitting("t", "epoch", vec![series(vec![(3.0, 0.5)])]).unwrap();
        assert!(chart.x_range.0 < 3.0 && chart.x_range.1 > 3.0);
        assert!(chart.svg(Surface::Page).unwrap().contains("<circle"));
    }
}
