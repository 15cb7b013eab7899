use std::collections::BTreeMap;

use super::*;
use crate::fuse::ChannelGroup;
use crate::quantize::{MacCount, Method};

fn record() -> Record {
    let output = OutputError {
        output: "p3".into(),
        group: ChannelGroup::Objectness,
        sqnr_db: 31.5,
        max_abs: 0.75,
        mean_shift: -0.01,
        cost: 0.0018,
    };
    Record {
        method: Method::Mse,
        images: 48,
        one_colored: 0,
        held_out: 16,
        candidates: vec![Candidate {
            method: Method::Mse,
            verdict: Verdict { agreement: Some(0.91), total: 0.05, outputs: vec![output.clone()] },
            map50: Some(0.5),
            map: Some(0.3),
        }],
        passes: vec![PassRecord {
            pass: "adaround".into(),
            before: 0.05,
            after: 0.03,
            agreement: Some([0.91, 0.93]),
            kept: true,
            note: Some("weights of 60 layers".into()),
        }],
        verdict: Verdict { agreement: Some(0.93), total: 0.03, outputs: vec![output] },
        sensitivities: vec![],
        macs: MacCount { int8: 97, all: 100 },
        dead_channels: vec!["model.3.conv: channel 0".into()],
        silent_channels: BTreeMap::from([("model.3.act".into(), vec![4, 9])]),
        floats: BTreeMap::from([("model.2.cv1.conv".into(), "reads <x>".into())]),
    }
}

fn measured(record: &Record) -> Comparison<'_> {
    let row = |name: &str, map: f64, change: Option<f64>| Row {
        name: name.into(),
        chosen: change.is_some(),
        onnx_bytes: if change.is_some() { 270 } else { 1000 },
        macs: change.map(|_| MacCount { int8: 97, all: 100 }),
        int8_convs: if change.is_some() { 58 } else { 0 },
        convs: 60,
        total: 0.03,
        agreement: change.map(|_| 0.93),
        map50: Some(0.52),
        map: Some(map),
        change: change.map(|value| [Difference { value, low: value - 0.002, high: value + 0.001 }; 2]),
    };
    Comparison {
        model: "yolov5n",
        imgsz: 640,
        images_labeled: 128,
        images_seen: 3,
        rows: vec![row("float", 0.3578, None), row("mse + adaround", 0.3548, Some(-0.003))],
        nodes: vec![NodeError { node: "model.1.act".into(), sqnr_db: 21.2 }],
        float_convs: vec!["model.2.cv1.conv".into()],
        float_others: vec!["model.9.sum".into()],
        sensitivities: record.sensitivities.clone(),
        record,
    }
}

#[test]
fn the_page_shows_variants_passes_groups_and_floats() {
    let record = record();
    let page = article(&measured(&record)).unwrap().html().unwrap();
    for text in [
        "mse + adaround (chosen)",
        "35.48 %",
        "93.00 %",
        "−0.30 (−0.50 to −0.20)",
        "3 of them were also calibrated or trained on",
        "weights of 60 layers",
        "Every layer",
        "97.0 %",
        "58 of 60",
        "0.270",
        "in floats: model.2.cv1.conv",
        "in floats: model.9.sum.",
        "adaround",
        "p3 objectness",
        "31.5 dB",
        "model.1.act",
        "reads &lt;x&gt;",
        "model.3.conv: channel 0",
        "0 for every image: model.3.act: channels 4, 9.",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    assert_eq!(page.matches("<svg").count(), 2);
}

#[test]
fn without_labels_the_page_says_how_to_get_map() {
    let record = record();
    let mut measured = measured(&record);
    measured.images_labeled = 0;
    for row in &mut measured.rows {
        (row.map50, row.map, row.change) = (None, None, None);
    }
    let page = article(&measured).unwrap().html().unwrap();
    assert!(page.contains("--data") && page.matches("<svg").count() == 1);
    assert!(!page.contains("change of mAP"), "a table of dashes");
}

/// `count` tensors that were measured in no order, the dearest called `tensor.0`.
fn shuffled(count: u8) -> Vec<Sensitivity> {
    let of_rank = |rank: u8| Sensitivity {
        tensor: format!("tensor.{rank}"),
        readers: vec![format!("conv.{rank}"), format!("other.{rank}")],
        total: 0.5 / f64::from(rank + 1),
        macs: f64::from(rank) / 1000.0,
        weights: 0.0,
    };
    // 7 has no factor in common with the count asked for, so that each rank comes once.
    (0..count).map(|at| of_rank(at * 7 % count)).collect()
}

#[test]
fn the_layers_that_hurt_most_come_first_with_the_numbers_of_the_record() {
    let record = Record { sensitivities: shuffled(24), ..record() };
    let table = sensitivity(&record.sensitivities).unwrap();
    assert_eq!(table.head, ["tensor", "error alone", "multiply-adds of its readers", "readers"]);
    assert_eq!(table.rows.len(), WORST, "the others hurt less");
    assert_eq!(table.rows[0], ["tensor.0", "0.5000", "0.00 %", "conv.0, other.0"]);
    assert_eq!(table.rows[1], ["tensor.1", "0.2500", "0.10 %", "conv.1, other.1"]);
    assert_eq!(table.rows[19], ["tensor.19", "0.0250", "1.90 %", "conv.19, other.19"]);
    let names: Vec<&str> = table.rows.iter().map(|row| row[0].as_str()).collect();
    let ranked: Vec<String> = (0..20).map(|rank| format!("tensor.{rank}")).collect();
    assert_eq!(names, ranked);

    let page = article(&measured(&record)).unwrap().html().unwrap();
    let places: Vec<usize> = ranked.iter().map(|name| page.find(&format!(">{name}<")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(!page.contains("tensor.20"));
    assert_eq!(sensitivity(&[]), None, "nothing was measured");
}

#[test]
fn the_chart_begins_with_the_lowest_signal_to_noise() {
    let node = |node: &str, sqnr_db: f64| NodeError { node: node.into(), sqnr_db };
    let bars = noisiest(&[node("fine", 40.26), node("drowned", -3.5), node("poor", 9.96)]);
    let shown: Vec<(&str, f64, &str)> =
        bars.iter().map(|bar| (bar.name.as_str(), bar.value, bar.text.as_str())).collect();
    assert_eq!(shown, [("drowned", 0.0, "-3.5 dB"), ("poor", 9.96, "10.0 dB"), ("fine", 40.26, "40.3 dB")]);
    let many: Vec<NodeError> = (0..30_u8).rev().map(|at| node(&at.to_string(), f64::from(at))).collect();
    let names: Vec<String> = noisiest(&many).into_iter().map(|bar| bar.name).collect();
    assert_eq!(names, (0..20).map(|at| at.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_trained_variant_has_its_map_beside_the_others() {
    let mut record = record();
    record.passes.push(PassRecord {
        pass: "qat".into(),
        before: 0.03,
        after: 0.0125,
        agreement: Some([0.93, 0.9512]),
        kept: true,
        note: Some("8 epochs over 48 images".into()),
    });
    let mut measured = measured(&record);
    measured.rows[1].chosen = false;
    let trained = Row {
        name: "mse + adaround + qat".into(),
        chosen: true,
        total: 0.0125,
        agreement: Some(0.9512),
        map50: Some(0.5311),
        map: Some(0.3569),
        change: Some([0.0111, -0.0009].map(|value| Difference { value, low: -0.004, high: 0.012 })),
        ..measured.rows[1].clone()
    };
    measured.rows.push(trained);
    let tables = variants(&measured);
    let [accuracy, costs] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(accuracy.rows.len(), 3);
    assert_eq!(
        accuracy.rows[2],
        [
            "mse + adaround + qat (chosen)",
            "53.11 %",
            "35.69 %",
            "+1.11 (−0.40 to +1.20)",
            "−0.09 (−0.40 to +1.20)"
        ]
    );
    assert_eq!(costs.rows[2][..3], ["mse + adaround + qat (chosen)", "0.0125", "95.12 %"]);
    let tables = passes(&record);
    let [_, done, notes] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(done.rows[1], ["qat", "0.0300", "0.0125", "93.00 %", "95.12 %", "kept"]);
    assert_eq!(notes.rows[1], ["qat", "8 epochs over 48 images"]);

    let page = article(&measured).unwrap().html().unwrap();
    // In both tables of variants and in the chart of mAP.
    assert!(page.matches("mse + adaround + qat").count() >= 3, "{}", page.matches("+ qat").count());
    assert!(page.contains("35.69 %") && page.contains("8 epochs over 48 images"));
}
