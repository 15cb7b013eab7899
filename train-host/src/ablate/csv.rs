//! The figures of an ablation as CSV (RFC 4180), unrounded, one row a variant, a cell, or a form of a timing.

use super::document::{Document, SeedResult, VariantResult};
use super::timing::{FormTime, Timing};
use crate::statistics::{Ratio, Spread};

/// A row a variant: accuracy over the seeds, sizes, and what training costs.
pub fn variants(document: &Document) -> String {
    let measures = ["map50", "map", "ap_small", "ap_medium", "ap_large"];
    let spreads =
        measures.map(|name| ["mean", "deviation", "least", "greatest"].map(|of| format!("{name}_{of}")));
    let mut head: Vec<String> = ["variant", "model", "act", "block", "seeds"].map(str::to_owned).to_vec();
    head.extend(spreads.into_iter().flatten());
    head.extend(
        [
            "parameters_unfused",
            "parameters_fused",
            "flops_unfused",
            "flops_fused",
            "layers_unfused",
            "layers_fused",
            "train_images_per_second",
            "train_step_median_ms",
            "train_step_to_baseline",
            "train_step_to_baseline_low",
            "train_step_to_baseline_high",
            "train_waiting_share",
            "train_peak_memory_bytes",
            "train_idle_memory_bytes",
        ]
        .map(str::to_owned),
    );
    text(&head, document.variants.iter().map(|variant| variant_row(document, variant)))
}

fn variant_row(document: &Document, variant: &VariantResult) -> Vec<String> {
    let json =
        |value: serde_json::Result<String>| value.unwrap_or_default().trim_matches('"').replace("null", "");
    let a = &variant.accuracy;
    let mut row = vec![
        variant.name.clone(),
        variant.model.clone(),
        json(serde_json::to_string(&variant.act)),
        json(serde_json::to_string(&variant.block)),
        variant.seeds.len().to_string(),
    ];
    row.extend([a.map50, a.map, a.ap_small, a.ap_medium, a.ap_large].into_iter().flat_map(spread));
    let (unfused, fused) = (variant.sizes.unfused, variant.sizes.fused);
    row.extend([unfused.parameters, fused.parameters].map(|n| n.to_string()));
    row.extend([unfused.flops, fused.flops].map(|n| n.to_string()));
    row.extend([unfused.layers, fused.layers].map(|n| n.to_string()));
    let alone = document.cost.alone.iter().find(|one| one.subject.name == variant.name);
    let paired = document.cost.paired.iter().find(|one| one.name == variant.name);
    row.extend([
        number(alone.map(|one| one.images_per_second)),
        number(alone.map(|one| one.step.median_ms)),
        number(paired.map(|one| one.ratio.median)),
        number(paired.map(|one| one.ratio.low)),
        number(paired.map(|one| one.ratio.high)),
        number(alone.map(|one| one.waiting_share)),
        number(alone.and_then(|one| one.peak_memory_bytes)),
        number(alone.and_then(|one| one.idle_memory_bytes)),
    ]);
    row
}

/// A row a cell: its accuracy.
pub fn seeds(document: &Document) -> String {
    let head = ["variant", "seed", "map50", "map", "ap_small", "ap_medium", "ap_large"].map(str::to_owned);
    let row = |variant: &VariantResult, s: &SeedResult| {
        let values = [s.map50, s.map, s.ap_small, s.ap_medium, s.ap_large].map(number);
        [vec![variant.name.clone(), s.seed.to_string()], values.to_vec()].concat()
    };
    let rows = document.variants.iter().flat_map(|v| v.seeds.iter().map(move |s| row(v, s)));
    text(&head, rows)
}

/// A row a form of a timing.
pub fn timings(document: &Document) -> String {
    let head = [
        "engine",
        "frames",
        "repeat",
        "form",
        "variant",
        "stage",
        "median_ms",
        "mean_ms",
        "p5_ms",
        "p95_ms",
        "to_baseline",
        "to_baseline_low",
        "to_baseline_high",
        "to_baseline_of_sums",
        "plain",
        "to_plain",
        "to_plain_low",
        "to_plain_high",
        "to_plain_of_sums",
    ]
    .map(str::to_owned);
    text(
        &head,
        document.timings.iter().flat_map(|timing| timing.forms.iter().map(|form| timing_row(timing, form))),
    )
}

fn timing_row(timing: &Timing, form: &FormTime) -> Vec<String> {
    let stage = format!("{:?}", form.stage).to_lowercase();
    let mut row = vec![timing.engine.name().to_owned(), timing.frames.to_string(), timing.repeat.to_string()];
    row.extend([form.name.clone(), form.variant.clone(), stage]);
    row.extend([form.median_ms, form.mean_ms, form.p5_ms, form.p95_ms].map(|ms| ms.to_string()));
    row.extend(ratio(Some(form.to_baseline)));
    row.push(form.plain.clone().unwrap_or_default());
    row.extend(ratio(form.to_plain));
    row
}

fn ratio(ratio: Option<Ratio>) -> [String; 4] {
    [ratio.map(|r| r.median), ratio.map(|r| r.low), ratio.map(|r| r.high), ratio.map(|r| r.of_sums)]
        .map(number)
}

fn spread(spread: Option<Spread>) -> [String; 4] {
    let deviation = spread.and_then(|s| s.deviation);
    [spread.map(|s| s.mean), deviation, spread.map(|s| s.least), spread.map(|s| s.greatest)].map(number)
}

/// The shortest text that reads back as the same number; empty for what was not measured.
fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn text(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    std::iter::once(head.to_vec()).chain(rows).fold(String::new(), |mut text, row| {
        let fields: Vec<String> = row.iter().map(|field| quoted(field)).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
        text
    })
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{document, form, timing};
    use super::super::forms::{Role, Stage};
    use super::super::timing::Engine;
    use super::*;

    #[test]
    fn fields_with_commas_and_quotes_are_quoted() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(text(&["x".into()], [vec!["1".into()]].into_iter()), "x\n1\n");
    }

    #[test]
    fn every_row_is_as_long_as_its_head() {
        let document = document(1.2, 1.0);
        for (text, rows) in [(variants(&document), 2), (seeds(&document), 4), (timings(&document), 3)] {
            let lengths: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
            assert_eq!(lengths.len(), rows + 1, "{text}");
            assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
        }
        assert!(seeds(&document).contains("rep,1,0.62,0.31,,0.62,0.62"));
    }

    #[test]
    fn a_row_of_a_timing_is_as_long_as_its_head() {
        let form = form("rep unfused", Stage::Unfused, Role::Reparameterized, 1.25);
        let row = timing_row(&timing(Engine::Torch, vec![form.clone()]), &form);
        assert_eq!(row.len(), 19);
        assert_eq!(
            row[..6],
            ["torch", "500", "1", "rep unfused", "rep unfused", "unfused"].map(str::to_owned)
        );
        assert_eq!((row[6].as_str(), row[15].as_str()), ("12.5", "1.25"));
    }
}
