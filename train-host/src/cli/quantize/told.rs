//! What a quantization did and cost, in lines for a person: `quantize` and `convert --precision int8` say the same.
//! Measures nothing.

use crate::console::counted;
use crate::model::{FusedModel, Head};
use crate::quantize::error::OutputError;
use crate::quantize::{Candidate, PassRecord, Record, Verdict};

/// How `model` was quantized, how near the result comes to it, and what there is to know about it; without a line break
/// at the end.
pub fn told(model: &FusedModel, record: &Record) -> String {
    let head = format!(
        "{} at {} px, calibrated on {} by {}{}: {:.1} % of the multiply-adds in int8",
        model.architecture.name,
        model.imgsz,
        counted(record.images, "image"),
        record.method,
        judged(record),
        100.0 * record.macs.share()
    );
    let mut lines = vec![head];
    lines.extend(spread(&model.architecture.head));
    lines.extend(record.candidates.iter().map(candidate));
    lines.extend(record.passes.iter().map(pass));
    lines.push(result(&record.verdict));
    lines.push(output_head());
    lines.extend(record.verdict.outputs.iter().map(output));
    lines.extend(notes(record));
    lines.join("\n")
}

/// By how much box logits are spread, where they are.
fn spread(head: &Head) -> Option<String> {
    let gains = || head.spread.iter().flatten().flatten().map(|spread| spread.gain);
    let least = gains().reduce(f32::min)?;
    let most = gains().fold(least, f32::max);
    Some(format!(
        "  box logits times {least:.1} to {most:.1}, which spreads them over the range of the scores"
    ))
}

/// By how many others it was judged.
fn judged(record: &Record) -> String {
    if record.held_out == 0 {
        String::new()
    } else {
        format!(" and judged on {}", counted(record.held_out, "other"))
    }
}

/// What a method of calibration gave.
fn candidate(candidate: &Candidate) -> String {
    let map = candidate.map.map_or_else(String::new, |map| format!(", mAP {map:.3}"));
    let Verdict { total, agreement, .. } = candidate.verdict;
    let found = agreement.map_or_else(String::new, |agreement| format!(", agreement {agreement:.3}"));
    format!("  {:<11} error {total:.4}{found}{map}", candidate.method.name())
}

/// What a pass changed.
fn pass(record: &PassRecord) -> String {
    let PassRecord { pass, before, after, agreement, kept, note } = record;
    let kept = if *kept { "kept" } else { "not kept" };
    let note = note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
    let found = agreement
        .map_or_else(String::new, |[before, after]| format!(", agreement {before:.3} -> {after:.3}"));
    format!("  {pass:<16} error {before:.4} -> {after:.4}{found}, {kept}{note}")
}

/// How near the result comes to the float model.
fn result(verdict: &Verdict) -> String {
    let found = verdict.agreement.map_or_else(String::new, |agreement| format!(", agreement {agreement:.3}"));
    format!("  {:<11} error {:.4}{found}", "in the end", verdict.total)
}

fn output_head() -> String {
    let [output, channels, sqnr, most, shift, cost] =
        ["output", "channels", "SQNR dB", "max|a-b|", "mean shift", "cost"];
    format!("{output:<10}{channels:<14}{sqnr:>10}{most:>12}{shift:>12}{cost:>10}")
}

/// The error of a group of channels.
fn output(error: &OutputError) -> String {
    let OutputError { output, group, sqnr_db, max_abs, mean_shift, cost } = error;
    let group = format!("{group:?}").to_lowercase();
    let cost = cost.sqrt();
    format!("{output:<10}{group:<14}{sqnr_db:>10.1}{max_abs:>12.3}{mean_shift:>12.4}{cost:>10.4}")
}

/// What is not as in every model.
fn notes(record: &Record) -> Vec<String> {
    let floats = record.floats.iter().map(|(node, reason)| format!("in floats: {node}: {reason}"));
    let dead = record.dead_channels.iter();
    let dead = dead.map(|channel| format!("note: {channel} has no weights and gives its bias"));
    let silent = record.silent().map(|channels| format!("note: 0 for every image: {channels}"));
    let few = (record.held_out == 0).then(|| {
        "note: too few images to hold any out: what was calibrated on them was judged on them".to_owned()
    });
    let blind = record.verdict.agreement.is_none().then(|| {
        "note: the float model finds nothing on the images that judge: only the error of the outputs decided".to_owned()
    });
    let plain = (record.one_colored > 0).then(|| {
        format!(
            "note: {} of one color to calibrate on: a lens cap, or a broken converter?",
            counted(record.one_colored, "image")
        )
    });
    floats.chain(dead).chain(silent).chain(few).chain(blind).chain(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fuse::ChannelGroup;
    use crate::model::{Architecture, Overrides, Weights};
    use crate::quantize::{MacCount, Method};

    fn model() -> FusedModel {
        let architecture = Architecture::load("yolov5n", &Overrides::default(), &["a".into()]).unwrap();
        FusedModel { architecture, weights: Weights::default(), imgsz: 64 }
    }

    fn record() -> Record {
        let verdict =
            |total: f64, agreement: f64| Verdict { agreement: Some(agreement), total, outputs: vec![] };
        let output = OutputError {
            output: "p3".into(),
            group: ChannelGroup::Class,
            sqnr_db: 31.52,
            max_abs: 0.75,
            mean_shift: -0.01,
            cost: 0.0625,
        };
        Record {
            method: Method::Kl,
            images: 12,
            held_out: 4,
            one_colored: 3,
            candidates: vec![Candidate {
                method: Method::Kl,
                verdict: verdict(0.05, 0.912),
                map50: None,
                map: Some(0.3),
            }],
            passes: vec![PassRecord {
                pass: "adaround".into(),
                before: 0.05,
                after: 0.03,
                agreement: None,
                kept: false,
                note: Some("for a reason".into()),
            }],
            verdict: Verdict { outputs: vec![output], ..verdict(0.05, 0.912) },
            sensitivities: vec![],
            macs: MacCount { int8: 97, all: 100 },
            dead_channels: vec!["model.3.conv: channel 0".into()],
            silent_channels: BTreeMap::from([
                ("model.3.act".into(), vec![4]),
                ("model.4.act".into(), (0..11).collect()),
            ]),
            floats: BTreeMap::from([("model.2.cv1.conv".into(), "reads x".into())]),
        }
    }

    #[test]
    fn every_figure_and_every_exception_has_its_line() {
        let expected = "\
yolov5n at 64 px, calibrated on 12 images by kl and judged on 4 others: 97.0 % of the multiply-adds in int8
  kl          error 0.0500, agreement 0.912, mAP 0.300
  adaround         error 0.0500 -> 0.0300, not kept; for a reason
  in the end  error 0.0500, agreement 0.912
output    channels         SQNR dB    max|a-b|  mean shift      cost
p3        class               31.5       0.750     -0.0100    0.2500
in floats: model.2.cv1.conv: reads x
note: model.3.conv: channel 0 has no weights and gives its bias
note: 0 for every image: model.3.act: channel 4
note: 0 for every image: model.4.act: channels 0, 1, 2, 3, 4, 5, 6, 7 and 3 more
note: 3 images of one color to calibrate on: a lens cap, or a broken converter?";
        assert_eq!(told(&model(), &record()), expected);
    }

    #[test]
    fn spread_boxes_are_told() {
        let mut model = model();
        let of = |gain: f32| [artifact::Spread { gain, offset: 0.0 }; 4];
        model.architecture.head.spread = vec![vec![of(1.26), of(3.0)], vec![of(2.0)]];
        assert!(told(&model, &record()).contains("\n  box logits times 1.3 to 3.0, which"));
    }

    #[test]
    fn what_was_judged_by_what_it_was_made_of_says_so() {
        let few = Record { images: 1, held_out: 0, ..record() };
        let text = told(&model(), &few);
        assert!(text.contains("calibrated on 1 image by") && text.contains("too few images"), "{text}");
        let verdict = Verdict { agreement: None, ..record().verdict };
        let text = told(&model(), &Record { verdict, ..record() });
        assert!(text.contains("finds nothing on the images that judge"), "{text}");
    }
}
