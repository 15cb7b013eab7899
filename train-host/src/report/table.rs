//! Tables of the report as plain rows of text. Never writes HTML: the template does, and escapes it.

use serde::Serialize;
use serde_json::Value;

use super::detect_record::DetectRecord;
use super::numbers::{milliseconds, percent, plain, points};
use crate::evaluate::{ClassMetrics, Evaluation, Metrics};

/// A table; the first column is text, the others are numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// What stands above each column.
    pub head: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table under `head`.
    pub fn new(head: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows }
    }
}

type Measure = fn(&Metrics) -> Option<f64>;

const ACCURACY: [(&str, Measure); 8] = [
    ("mAP50", |m| m.map50),
    ("mAP50-95", |m| m.map),
    ("mAP75", |m| m.map75),
    ("AP small", |m| m.ap_small),
    ("AP medium", |m| m.ap_medium),
    ("AP large", |m| m.ap_large),
    ("precision", |m| m.precision),
    ("recall", |m| m.recall),
];

/// Accuracy before and after fusing, or of the one that was evaluated.
pub(super) fn accuracy(trained: Option<&Evaluation>, fused: Option<&Evaluation>) -> Option<Table> {
    let [trained, fused] = [trained, fused].map(|evaluation| evaluation.map(|e| &e.metrics));
    let head: &[&str] = match (trained, fused) {
        (Some(_), Some(_)) => &["", "trained", "fused", "change in points"],
        (Some(_), None) => &["", "trained"],
        (None, Some(_)) => &["", "fused"],
        (None, None) => return None,
    };
    let row = |&(name, measure): &(&str, Measure)| {
        let mut cells = vec![name.to_owned()];
        cells.extend([trained, fused].into_iter().flatten().map(|metrics| percent(measure(metrics))));
        if let (Some(before), Some(after)) = (trained, fused) {
            cells.push(points(measure(before), measure(after)));
        }
        cells
    };
    Some(Table::new(head, ACCURACY.iter().map(row).collect()))
}

/// Accuracy of each class.
pub(super) fn classes(evaluation: &Evaluation) -> Table {
    let row = |class: &ClassMetrics| {
        let counts = [class.images.to_string(), class.labels.to_string()];
        let values = [class.precision, class.recall, class.map50, class.map].map(percent);
        [vec![class.name.clone()], counts.to_vec(), values.to_vec()].concat()
    };
    Table::new(
        &["class", "images", "labels", "precision", "recall", "AP50", "AP50-95"],
        evaluation.metrics.per_class.iter().map(row).collect(),
    )
}

/// Time of each stage: of the two evaluations, and of the bundle on pictures.
pub(super) fn speed(
    trained: Option<&Evaluation>,
    fused: Option<&Evaluation>,
    detections: Option<&DetectRecord>,
) -> Option<Table> {
    let of_evaluation = |name: &str, e: &Evaluation| {
        let what = format!("{name}, {} at {}×{} px", e.backend, e.input_px[0], e.input_px[1]);
        speed_row(what, [e.speed.preprocess_ms, e.speed.inference_ms, e.speed.decode_ms])
    };
    let of_pictures =
        |d: &DetectRecord| Some(speed_row(format!("bundle on pictures, {}", d.backend), d.stages_ms()?));
    let rows: Vec<_> = [
        trained.map(|e| of_evaluation("trained", e)),
        fused.map(|e| of_evaluation("fused", e)),
        detections.and_then(of_pictures),
    ]
    .into_iter()
    .flatten()
    .collect();
    let head = ["median time an image", "pre-processing", "inference", "decoding and NMS", "together"];
    (!rows.is_empty()).then(|| Table::new(&head, rows))
}

fn speed_row(what: String, stages_ms: [f64; 3]) -> Vec<String> {
    let together = stages_ms.iter().sum();
    [vec![what], stages_ms.map(milliseconds).to_vec(), vec![milliseconds(together)]].concat()
}

/// The members of a JSON object, one a row; members of members are named `outer.inner`.
pub(super) fn members(value: &Value) -> Option<Table> {
    let mut rows = Vec::new();
    flatten("", value, &mut rows);
    (!rows.is_empty()).then(|| Table::new(&["", ""], rows))
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, member, rows);
            }
        }
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let text: Vec<String> = items.iter().map(plain).collect();
            rows.push(vec![prefix.to_owned(), text.join(", ")]);
        }
        other => rows.push(vec![prefix.to_owned(), plain(other)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_arguments_become_dotted_rows() {
        let table = members(&json!({"a": 1, "hyp": {"lr": 0.01, "list": [1, 2]}})).unwrap();
        assert_eq!(table.rows, [["a", "1"], ["hyp.list", "1, 2"], ["hyp.lr", "0.01"]]);
        assert_eq!(members(&json!({})), None);
    }
}
