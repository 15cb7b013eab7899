//! Horizontal bars from 0, one below the other, each with its name before and its number behind. Never computes what it
//! draws.

use plotters::element::Rectangle;
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Surface, Text, Weight, color, draw, shorten, text_width};
use super::charts::Bar;
use super::dot_chart::not_finite;
use crate::Result;

const WIDTH: i32 = 1040;
const TOP: i32 = 84;
/// Height of a bar and of what it takes with the space below it.
const BAR: i32 = 34;
const ROW: i32 = 50;
const TEXT: u32 = 26;
const GAP: i32 = 14;
const NAME_CHARACTERS: usize = 36;

type Painted = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The chart as an SVG document.
pub(super) fn svg(title: &str, bars: &[Bar], surface: Surface) -> Result<Option<String>> {
    if bars.is_empty() {
        return Ok(None);
    }
    if bars.iter().any(|bar| !bar.value.is_finite()) {
        return Err(not_finite(title));
    }
    let rows = i32::try_from(bars.len()).unwrap_or(i32::MAX);
    let height = TOP.saturating_add(ROW.saturating_mul(rows));
    draw((WIDTH.unsigned_abs(), height.unsigned_abs()), surface, |area| {
        paint(area, title, bars).map_err(|e| e.to_string())
    })
    .map(Some)
}

fn paint(area: &Area<'_>, title: &str, bars: &[Bar]) -> Painted {
    let heading = Text { weight: Weight::Bold, ..Text::new(38) };
    area.draw_text(title, &heading.style(), (20, 40))?;
    let names: Vec<String> = bars.iter().map(|bar| shorten(&bar.name, NAME_CHARACTERS)).collect();
    let widest =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text_width(text, TEXT)).max().unwrap_or(0);
    let left = 20 + widest(&mut names.iter().map(String::as_str)) + GAP;
    let right = WIDTH - 20 - widest(&mut bars.iter().map(|bar| bar.text.as_str())) - GAP;
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    for (at, (bar, name)) in (0i32..).zip(bars.iter().zip(&names)) {
        let middle = TOP + at * ROW + BAR / 2;
        #[expect(clippy::cast_possible_truncation, reason = "a share of some hundred units")]
        let length = (bar.value / longest * f64::from((right - left).max(1))).round() as i32;
        let corners = [(left, middle - BAR / 2), (left + length, middle + BAR / 2)];
        area.draw(&Rectangle::new(corners, color(bar.group).mix(0.85).filled()))?;
        let before = Text { across: HPos::Right, ..Text::new(TEXT) };
        area.draw_text(name, &before.style(), (left - GAP, middle))?;
        area.draw_text(&bar.text, &Text::new(TEXT).style(), (left + length + GAP, middle))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_twice_the_one_of_half_its_value() {
        let bar = |value| Bar { name: "n".into(), value, text: "x".into(), group: 0 };
        let svg = svg("t", &[bar(2.0), bar(4.0)], Surface::Page).unwrap().unwrap();
        let widths: Vec<f64> = svg
            .split("<rect")
            .skip(1)
            .map(|rect| rect.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
    }
}
