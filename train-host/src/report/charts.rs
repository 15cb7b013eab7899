//! Charts for comparing several things: samples of each with their mean, a bar for each, a curve for each. Chooses
//! colors; how a chart is painted is left to `dot_chart`, `bar_chart` and `line_chart`.

use super::bar_chart;
use super::canvas::{Surface, color};
use super::dot_chart;
use super::line_chart::{LineChart, Series};
use crate::Result;

/// Measured values of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// What was measured.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
}

/// One value of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What was measured.
    pub name: String,
    /// Its value, which is not negative.
    pub value: f64,
    /// What stands beside the bar.
    pub text: String,
    /// Bars of a group have one color.
    pub group: usize,
}

/// Values of one thing over an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What was measured.
    pub name: String,
    /// Its mean.
    pub mean: Vec<(f64, f64)>,
    /// The courses it is the mean of.
    pub courses: Vec<Vec<(f64, f64)>>,
}

/// A column of dots for each of `samples`, with a line at their mean. The axis fits the values and does not begin at 0.
/// `None` when there is no value.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when a value is not finite.
pub fn dots(title: &str, samples: &[Samples], surface: Surface) -> Result<Option<String>> {
    dot_chart::svg(title, samples, surface)
}

/// Horizontal bars, one below the other, from 0. `None` when there is no bar.
///
/// # Errors
/// As [`dots`].
pub fn bars(title: &str, bars: &[Bar], surface: Surface) -> Result<Option<String>> {
    bar_chart::svg(title, bars, surface)
}

/// Curves over one axis: each mean strong, its courses pale behind it. `None` when there is no point.
///
/// # Errors
/// As [`dots`].
pub fn curves(title: &str, x_title: &str, curves: &[Curve], surface: Surface) -> Result<Option<String>> {
    let course = |(index, curve): (usize, &Curve)| -> Vec<Series> {
        let pale = |points: &Vec<(f64, f64)>| Series {
            name: None,
            points: points.clone(),
            color: color(index),
            opacity: 0.22,
            width: 2,
        };
        curve.courses.iter().map(pale).collect()
    };
    let mean = |(index, curve): (usize, &Curve)| Series {
        name: (!curve.mean.is_empty()).then(|| curve.name.clone()),
        points: curve.mean.clone(),
        color: color(index),
        opacity: 1.0,
        width: 5,
    };
    let behind = curves.iter().enumerate().flat_map(course);
    let series = behind.chain(curves.iter().enumerate().map(mean)).collect();
    LineChart::fitting(title, x_title, series).map(|chart| chart.svg(surface)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_no_chart() {
        assert_eq!(dots("t", &[Samples { name: "a".into(), values: vec![] }], Surface::File).unwrap(), None);
        assert_eq!(bars("t", &[], Surface::File).unwrap(), None);
        let empty = Curve { name: "a".into(), mean: vec![], courses: vec![] };
        assert_eq!(curves("t", "x", &[empty], Surface::File).unwrap(), None);
    }

    #[test]
    fn a_curve_is_named_once_and_its_courses_are_pale() {
        let points = vec![(0.0, 0.1), (1.0, 0.2)];
        let curve =
            Curve { name: "rep <1>".into(), mean: points.clone(), courses: vec![points.clone(), points] };
        let svg = curves("t", "epoch", &[curve], Surface::File).unwrap().unwrap();
        assert_eq!(svg.matches("rep &lt;1&gt;").count(), 1);
        assert_eq!(svg.matches("opacity=\"0.22\"").count(), 2);
    }

    #[test]
    fn values_that_are_no_numbers_are_an_error() {
        let samples = [Samples { name: "a".into(), values: vec![1.0, f64::NAN] }];
        assert!(dots("t", &samples, Surface::File).is_err());
        let bar = Bar { name: "a".into(), value: f64::INFINITY, text: String::new(), group: 0 };
        assert!(bars("t", &[bar], Surface::File).is_err());
    }
}
