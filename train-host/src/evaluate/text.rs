//! An evaluation as a table for the terminal. Never rounds what is stored.

use std::fmt;

use super::Evaluation;

/// Width of the column of class names.
const NAME_WIDTH: usize = 18;

impl fmt::Display for Evaluation {
    /// A line for all classes, one for each class, and the rest below; fractions with three digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.metrics;
        let heads = ["images", "labels", "precision", "recall", "mAP50", "mAP50-95"];
        write!(f, "{:<NAME_WIDTH$}", "class")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>10}"))?;
        row(f, "all", [m.images, m.labels], [m.precision, m.recall, m.map50, m.map])?;
        for c in &m.per_class {
            row(f, &c.name, [c.images, c.labels], [c.precision, c.recall, c.map50, c.map])?;
        }
        let [small, medium, large] = [m.ap_small, m.ap_medium, m.ap_large].map(fraction);
        write!(f, "\nmAP50-95 by size: small {small}, medium {medium}, large {large}")?;
        write!(f, "\nprecision and recall at confidence {:.3}, where F1 is best", m.best_confidence)?;
        if self.skipped > 0 {
            write!(f, "\n{} broken images left out", self.skipped)?;
        }
        let [width, height] = self.input_px;
        write!(
            f,
            "\nan image takes {:.2} ms pre-processing, {:.1} ms inference, {:.2} ms decoding and NMS ({}, {width}x{height})",
            self.speed.preprocess_ms, self.speed.inference_ms, self.speed.decode_ms, self.backend
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, counts: [usize; 2], values: [Option<f64>; 4]) -> fmt::Result {
    write!(f, "\n{name:<NAME_WIDTH$}")?;
    counts.iter().try_for_each(|count| write!(f, "{count:>10}"))?;
    values.iter().try_for_each(|value| write!(f, "{:>10}", fraction(*value)))
}

fn fraction(value: Option<f64>) -> String {
    value.map_or_else(|| String::from("-"), |v| format!("{v:.3}"))
}
