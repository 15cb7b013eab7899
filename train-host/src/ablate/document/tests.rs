use super::super::forms::{Role, Size, Stage};
use super::super::timing::{Engine, FormTime};
use super::*;
use crate::statistics::Ratio;
use crate::train::bench::Workload;

pub fn form(name: &str, stage: Stage, role: Role, ratio: f64) -> FormTime {
    let ratio = Ratio { of_sums: ratio, median: ratio, low: ratio, high: ratio };
    FormTime {
        name: name.into(),
        variant: name.into(),
        stage,
        role,
        median_ms: 10.0 * ratio.median,
        mean_ms: 10.0 * ratio.median,
        p5_ms: 9.0,
        p95_ms: 12.0,
        to_baseline: ratio,
        plain: Some("plain fused".into()),
        to_plain: Some(ratio),
    }
}

pub fn timing(engine: Engine, forms: Vec<FormTime>) -> Timing {
    Timing { machine: Machine::here(), engine, frames: 500, repeat: 1, imgsz: 64, threads: 1, forms }
}

fn variant(name: &str, map: [f64; 2]) -> VariantResult {
    let size = |parameters| Size { parameters, flops: 2_000_000_000, layers: 9 };
    let epoch = |epoch, map| Epoch { epoch, map: Some(map), ..Epoch::default() };
    let seed = |(seed, &map): (u64, &f64)| SeedResult {
        seed,
        map50: Some(map),
        map: Some(map / 2.0),
        ap_small: None,
        ap_medium: Some(map),
        ap_large: Some(map),
        epochs: vec![epoch(0.0, map / 4.0), epoch(1.0, map / 2.0)],
    };
    let seeds: Vec<SeedResult> = (0..).zip(&map).map(seed).collect();
    VariantResult {
        name: name.into(),
        model: name.into(),
        act: None,
        block: Some(Block::Repvgg),
        sizes: Sizes { unfused: size(2_000_000), fused: size(1_000_000) },
        accuracy: Accuracy::over(&seeds),
        seeds,
    }
}

/// Two variants, of which `rep` takes `unfused` and `fused` times the plain one's time.
pub fn document(unfused: f64, fused: f64) -> Document {
    let forms = vec![
        form("plain fused", Stage::Fused, Role::Compared, 1.0),
        form("rep unfused", Stage::Unfused, Role::Reparameterized, unfused),
        form("rep fused", Stage::Fused, Role::Reparameterized, fused),
    ];
    let timings = vec![timing(Engine::Tract, forms)];
    let workload = Workload {
        data: "d".into(),
        broken: crate::dataset::Broken::Refuse,
        imgsz: 64,
        batch: 8,
        nominal_batch: 64,
        steps: 4,
        threads: 1,
        workers: 1,
    };
    Document {
        plan: Summary {
            name: "p".into(),
            data: "sets/d".into(),
            split: "test".into(),
            images: 8,
            epochs: 2,
            imgsz: 64,
            batch: 8,
            seeds: vec![0, 1],
            threads: 1,
            device: "cpu".into(),
            baseline: "plain".into(),
        },
        machine: Machine::here(),
        variants: vec![variant("plain", [0.59, 0.61]), variant("rep", [0.60, 0.62])],
        cost: Cost { machine: Machine::here(), workload, alone: Vec::new(), paired: Vec::new() },
        bar: Bar::judge(&timings),
        timings,
        pictures: Vec::new(),
    }
}

#[test]
fn a_document_survives_its_json() {
    let mut document = document(1.3, 1.01);
    let json = serde_json::to_string(&document).unwrap();
    for seed in document.variants.iter_mut().flat_map(|variant| &mut variant.seeds) {
        seed.epochs.clear();
    }
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
}

#[test]
fn accuracy_leaves_out_what_no_seed_measured() {
    let seed = |map50| SeedResult {
        seed: 0,
        map50: Some(map50),
        map: None,
        ap_small: None,
        ap_medium: None,
        ap_large: None,
        epochs: Vec::new(),
    };
    let accuracy = Accuracy::over(&[seed(0.5), seed(0.7)]);
    assert!((accuracy.map50.unwrap().mean - 0.6).abs() < 1e-12);
    assert_eq!(accuracy.map, None);
}
