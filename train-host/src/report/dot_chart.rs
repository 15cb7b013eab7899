//! A column of dots for each thing measured and a line at their mean. Never computes what it draws but that mean.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, INK, Surface, Text, Weight, color, draw, shorten, text_width};
use super::charts::Samples;
use crate::statistics::mean;
use crate::{Error, Result};

const WIDTH: i32 = 1040;
const HEIGHT: i32 = 660;
const TOP: i32 = 90;
const BOTTOM: i32 = HEIGHT - 80;
/// Left of the columns, for the numbers of the axis.
const LEFT: i32 = 110;
const RIGHT: i32 = WIDTH - 30;
const NAME_CHARACTERS: usize = 28;
/// Dots of a column stand so far apart at most.
const DOT_STEP: i32 = 28;

type Painted = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The chart as an SVG document.
pub(super) fn svg(title: &str, samples: &[Samples], surface: Surface) -> Result<Option<String>> {
    let values: Vec<f64> = samples.iter().flat_map(|s| &s.values).copied().collect();
    if values.is_empty() {
        return Ok(None);
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(not_finite(title));
    }
    let axis = Axis::around(&values);
    draw((WIDTH.unsigned_abs(), HEIGHT.unsigned_abs()), surface, |area| {
        paint(area, title, samples, &axis).map_err(|e| e.to_string())
    })
    .map(Some)
}

pub(super) fn not_finite(title: &str) -> Error {
    Error::backend(
        format!("the plot {title:?} would hold a value that is not finite"),
        "finite values in the results",
        "look for NaN or infinite values in the files it is made from",
    )
}

/// The vertical axis: from a round number below all values to one above.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn around(values: &[f64]) -> Self {
        let (low, high) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let step = round_step(high - low);
        let (low, high) = (((low / step).floor() - 0.5) * step, ((high / step).ceil() + 0.5) * step);
        Self { low, high, step }
    }

    fn y(&self, value: f64) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        #[expect(clippy::cast_possible_truncation, reason = "a share of some hundred units")]
        let up = (share * f64::from(BOTTOM - TOP)).round() as i32;
        BOTTOM - up
    }

    /// Multiples of the step within the axis.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let first = (self.low / self.step).ceil();
        (0..32u8).map(move |n| (first + f64::from(n)) * self.step).take_while(|tick| *tick <= self.high)
    }

    fn label(&self, tick: f64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{tick:.digits$}")
    }
}

/// 1, 2 or 5 times a power of ten, so that four to ten of them make the range.
fn round_step(range: f64) -> f64 {
    let rough = if range > 1e-9 { range / 5.0 } else { 0.1 };
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

fn paint(area: &Area<'_>, title: &str, samples: &[Samples], axis: &Axis) -> Painted {
    let heading = Text { weight: Weight::Bold, ..Text::new(38) };
    area.draw_text(title, &heading.style(), (20, 40))?;
    let number = Text { across: HPos::Right, ..Text::new(28) };
    for tick in axis.ticks() {
        let y = axis.y(tick);
        area.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], INK.mix(0.12)))?;
        area.draw_text(&axis.label(tick), &number.style(), (LEFT - 14, y))?;
    }
    let columns = i32::try_from(samples.len()).unwrap_or(i32::MAX).max(1);
    let slot = (RIGHT - LEFT) / columns;
    let names: Vec<String> = samples.iter().map(|s| shorten(&s.name, NAME_CHARACTERS)).collect();
    let height = name_height(&names, slot);
    for (at, (of, name)) in samples.iter().zip(&names).enumerate() {
        let center = LEFT + slot * i32::try_from(at).unwrap_or(0) + slot / 2;
        let text = Text { across: HPos::Center, ..Text::new(height) };
        area.draw_text(name, &text.style(), (center, BOTTOM + 40))?;
        paint_column(area, of, axis, center, slot, at)?;
    }
    Ok(())
}

/// The largest text in which all names fit their columns.
fn name_height(names: &[String], slot: i32) -> u32 {
    (12..=30)
        .rev()
        .find(|&height| names.iter().all(|name| text_width(name, height) < slot - 10))
        .unwrap_or(12)
}

fn paint_column(area: &Area<'_>, of: &Samples, axis: &Axis, center: i32, slot: i32, index: usize) -> Painted {
    let count = i32::try_from(of.values.len()).unwrap_or(i32::MAX);
    if count == 0 {
        return Ok(());
    }
    let y = axis.y(mean(&of.values));
    let half = (slot / 3).min(90);
    area.draw(&Rectangle::new([(center - half, y - 2), (center + half, y + 2)], color(index).filled()))?;
    let step = DOT_STEP.min(2 * half / count);
    for (at, &value) in (0i32..).zip(&of.values) {
        let x = center + at * step - (count - 1) * step / 2;
        area.draw(&Circle::new((x, axis.y(value)), 9, color(index).mix(0.55).filled()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_labels_tell_ticks_apart() {
        for (range, step) in [(1.0, 0.2), (0.9, 0.2), (4.0, 1.0), (12.0, 5.0), (0.0, 0.1), (230.0, 50.0)] {
            assert!((round_step(range) - step).abs() < 1e-9, "{range}: {}", round_step(range));
        }
        let axis = Axis::around(&[49.2, 50.1]);
        let labels: Vec<String> = axis.ticks().map(|tick| axis.label(tick)).collect();
        assert_eq!(labels, ["49.2", "49.4", "49.6", "49.8", "50.0", "50.2"]);
        assert!(axis.y(49.2) < BOTTOM && axis.y(50.1) > TOP);
    }

    #[test]
    fn each_value_is_a_dot_and_each_column_has_its_mean() {
        let column = |name: &str, values: &[f64]| Samples { name: name.into(), values: values.to_vec() };
        let samples = [column("a<b", &[1.0, 2.0, 3.0]), column("c", &[2.5])];
        let svg = svg("t", &samples, Surface::File).unwrap().unwrap();
        assert_eq!(svg.matches("<circle").count(), 4);
        // The ground and a mean for each column.
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains("a&lt;b"));
    }
}
