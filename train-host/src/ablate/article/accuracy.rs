//! The sections on how good the variants are and how large.

use super::numbers::{billions, difference, millions, percent};
use super::{Plots, plot};
use crate::Result;
use crate::ablate::document::{Document, SeedResult, VariantResult};
use crate::ablate::forms::Sizes;
use crate::ablate::outputs::Output;
use crate::console::counted;
use crate::report::{self, Curve, Samples, Section, Table};
use crate::statistics::mean;

pub(super) fn accuracy(document: &Document, plots: &mut Plots) -> Result<Option<Section>> {
    let baseline = document.variants.iter().find(|v| v.name == document.plan.baseline).map(|v| v.accuracy);
    let row = |v: &VariantResult| {
        let a = &v.accuracy;
        let mut cells = vec![v.name.clone()];
        cells.extend([a.map50, a.map].map(percent));
        cells.push(difference(a.map50, baseline.and_then(|b| b.map50)));
        cells.push(difference(a.map, baseline.and_then(|b| b.map)));
        cells.extend([a.ap_small, a.ap_medium, a.ap_large].map(percent));
        cells
    };
    let head = ["variant", "mAP50", "mAP50-95", "Δ mAP50", "Δ mAP50-95", "AP small", "AP medium", "AP large"];
    let table = Table::new(&head, document.variants.iter().map(row).collect());
    let samples = |value: fn(&SeedResult) -> Option<f64>| -> Vec<Samples> {
        let of = |v: &VariantResult| Samples {
            name: v.name.clone(),
            values: v.seeds.iter().filter_map(value).map(|v| v * 100.0).collect(),
        };
        document.variants.iter().map(of).collect()
    };
    let (map, map50) = (samples(|s| s.map), samples(|s| s.map50));
    let curves: Vec<Curve> = document.variants.iter().map(curve).collect();
    let split = &document.plan.split;
    let mut section = Section {
        title: "Accuracy".into(),
        paragraphs: vec![format!(
            "Percent; mean ± standard deviation over {}, each with the weights of its best epoch on the validation \
             split, fused, run by tract with the device's pre-processing, decode and NMS. AP by size is mAP50-95 of \
             objects under 32², up to 96² and over 96² px. Δ: points against {}.",
            counted(document.plan.seeds.len(), "seed"),
            document.plan.baseline
        )],
        tables: vec![table],
        ..Section::default()
    };
    let title = format!("mAP50-95 on {split}, percent");
    plot(&mut section, plots, Output::MAP, |surface| report::dots(&title, &map, surface))?;
    let title = format!("mAP50 on {split}, percent");
    plot(&mut section, plots, Output::MAP50, |surface| report::dots(&title, &map50, surface))?;
    let title = "mAP50-95 on validation, percent, mean over seeds";
    plot(&mut section, plots, Output::CURVES, |surface| report::curves(title, "epoch", &curves, surface))?;
    Ok(Some(section))
}

/// Validation mAP in percent over the epochs, as far as every seed has it.
fn curve(variant: &VariantResult) -> Curve {
    let course = |seed: &SeedResult| -> Vec<(f64, f64)> {
        seed.epochs.iter().filter_map(|e| Some((e.epoch, e.map? * 100.0))).collect()
    };
    let courses: Vec<Vec<(f64, f64)>> = variant.seeds.iter().map(course).collect();
    let common = courses.iter().map(Vec::len).min().unwrap_or(0);
    let at = |index: usize| {
        let values: Vec<f64> = courses.iter().map(|course| course[index].1).collect();
        (courses[0][index].0, mean(&values))
    };
    let name = variant.name.clone();
    let mean = (0..common).map(at).collect();
    Curve { name, mean, courses: if courses.len() > 1 { courses } else { Vec::new() } }
}

pub(super) fn sizes(document: &Document) -> Option<Section> {
    let row = |v: &VariantResult| {
        let Sizes { unfused, fused } = v.sizes;
        vec![
            v.name.clone(),
            millions(unfused.parameters as u64),
            millions(fused.parameters as u64),
            billions(unfused.flops),
            billions(fused.flops),
            unfused.layers.to_string(),
            fused.layers.to_string(),
        ]
    };
    let head = [
        "variant",
        "parameters, trained",
        "fused",
        "GFLOPs, trained",
        "fused",
        "operations, trained",
        "fused",
    ];
    Some(Section {
        title: "Size".into(),
        paragraphs: vec![format!(
            "At {} px; a multiply-add of a convolution counts as two.",
            document.plan.imgsz
        )],
        tables: vec![Table::new(&head, document.variants.iter().map(row).collect())],
        ..Section::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::document::tests::document;

    #[test]
    fn a_single_seed_has_no_pale_courses() {
        let mut one = document(1.2, 1.0).variants.remove(0);
        assert_eq!(curve(&one).courses.len(), 2);
        one.seeds.truncate(1);
        assert!(curve(&one).courses.is_empty() && curve(&one).mean.len() == 2);
        let percent = one.seeds[0].epochs[1].map.unwrap() * 100.0;
        assert!(percent > 1.0 && curve(&one).mean[1].1 == percent);
    }
}
