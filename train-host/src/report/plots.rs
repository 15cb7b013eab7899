//! The plots of a run and of an evaluation, as SVG documents. Chooses what is drawn; how is left to `line_chart`
//! and `heat_map`.

use plotters::style::RGBColor;

use super::canvas::{INK, Surface, color};
use super::heat_map;
use super::line_chart::{LineChart, Series};
use super::run_log::Epoch;
use crate::Result;
use crate::evaluate::{Confusion, PrCurves};

/// With more classes than this the curves of single classes are drawn thin and without names.
const NAMED_CLASSES: usize = 7;

/// Precision over recall: one curve a class and their mean. `None` when nothing was labeled.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when a value is not finite.
pub fn pr_curves(curves: &PrCurves, surface: Surface) -> Result<Option<String>> {
    let named = curves.classes.len() <= NAMED_CLASSES;
    let points = |precision: &[f64]| curves.recall.iter().copied().zip(precision.iter().copied()).collect();
    let of_class = |(index, class): (usize, &crate::evaluate::PrCurve)| Series {
        name: named.then(|| super::canvas::shorten(&class.name, 16)),
        points: points(&class.precision),
        color: color(index),
        opacity: if named { 1.0 } else { 0.35 },
        width: if named { 4 } else { 2 },
    };
    let mut series: Vec<Series> = curves.classes.iter().enumerate().map(of_class).collect();
    if curves.classes.len() > 1 {
        series.push(line("mean", points(&curves.mean), INK, 6));
    }
    let Some(chart) = LineChart::fitting("Precision over recall, IoU 0.5", "recall", series) else {
        return Ok(None);
    };
    chart.with_top(1.0).square().svg(surface).map(Some)
}

/// The confusion matrix as a heat map, each row divided by its sum.
///
/// # Errors
/// As [`pr_curves`].
pub fn confusion(matrix: &Confusion, surface: Surface) -> Result<String> {
    heat_map::svg(matrix, surface)
}

/// What is drawn of a run, one chart each; charts without a value are left out.
pub(super) fn training(epochs: &[Epoch]) -> Result<Vec<String>> {
    let curve = |value: fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|e| Some((e.epoch, value(e)?))).collect()
    };
    let losses = vec![
        line("box", curve(|e| e.box_loss), color(0), 4),
        line("objectness", curve(|e| e.obj_loss), color(1), 4),
        line("class", curve(|e| e.cls_loss), color(2), 4),
    ];
    let accuracy = vec![
        line("mAP50", curve(|e| e.map50), color(0), 5),
        line("mAP50-95", curve(|e| e.map), color(2), 5),
        line("precision", curve(|e| e.precision), color(3), 2),
        line("recall", curve(|e| e.recall), color(1), 2),
    ];
    let rate = vec![line("learning rate", curve(|e| e.lr), color(5), 4)];
    let speed = vec![line("images a second", curve(|e| e.images_per_second), color(6), 4)];
    let charts = [
        LineChart::fitting("Validation accuracy", "epoch", accuracy).map(|chart| chart.with_top(1.0)),
        LineChart::fitting("Training loss", "epoch", losses),
        LineChart::fitting("Learning rate", "epoch", rate),
        LineChart::fitting("Training speed", "epoch", speed),
    ];
    charts.into_iter().flatten().map(|chart| chart.svg(Surface::Page)).collect()
}

fn line(name: &str, points: Vec<(f64, f64)>, color: RGBColor, width: u32) -> Series {
    Series { name: (!points.is_empty()).then(|| name.to_owned()), points, color, opacity: 1.0, width }
}
