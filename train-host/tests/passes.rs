//! The passes that win accuracy back, on random models: equalization computes the same, refinement lowers the error of
//! the layers it refines, and what each did is recorded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use boards::Int8;
use support::calibration::{Calibrated, calibrated, outputs, pixels};
use support::relative_error;
use train_host::export;
use train_host::model::{Activation, FusedModel};
use train_host::quantize::error::{Reference, total};
use train_host::quantize::passes::{
    Bias, Refinement, Rounding, equalize, refine, sensitivities, worth_floats,
};
use train_host::quantize::{
    Method, Outcome, Plan, QuantizedModel, Recipe, Switch, Trained, Trainer, quantize, run, tune,
    without_judges,
};

const IMGSZ: usize = 64;

fn plan() -> Plan {
    Plan { method: Method::Mse, rules: Int8::default(), kept: BTreeMap::new() }
}

fn floats(model: &FusedModel) -> Vec<Vec<f32>> {
    let image = pixels(IMGSZ, 3);
    let floats = |tensor: artifact::Tensor| match tensor.data {
        artifact::TensorData::F32(values) => values,
        other => panic!("{other:?}"),
    };
    outputs(&mut export::session(model).unwrap(), &image).into_iter().map(floats).collect()
}

fn error(calibrated: &Calibrated, model: &QuantizedModel) -> f64 {
    let reference = Reference::of(&calibrated.model, &calibrated.images).unwrap();
    total(&reference.errors(&mut export::quantized_session(model).unwrap()).unwrap())
}

#[test]
fn equalization_computes_the_same_and_evens_channels_out() {
    for act in [Activation::Relu, Activation::LeakyRelu] {
        let calibrated = calibrated("repyolov5n", act, IMGSZ);
        let (equalized, record) = equalize(&calibrated.model, &calibrated.observed).unwrap();
        assert!(record.scaled.len() > 5, "{record:?}");
        assert_eq!(record.not_homogeneous, 0);
        for (a, b) in floats(&calibrated.model).iter().zip(&floats(&equalized)) {
            assert!(relative_error(a, b) < 1e-4, "{}", relative_error(a, b));
        }
        // The spread of a scaled tensor's channels falls, on average over the tensors.
        let after = train_host::quantize::observe(&equalized, &calibrated.images).unwrap();
        let graph = &calibrated.model.architecture.graph;
        let spread = |observed: &train_host::quantize::Observations| -> f64 {
            let of_node = |name: &String| {
                let id =
                    graph.nodes.iter().position(|node| node.name == name.replace(".conv", ".act")).unwrap();
                let highs =
                    observed.nodes[&id].channels.iter().map(|c| f64::from(c.high)).filter(|&h| h > 0.0);
                let highs: Vec<f64> = highs.collect();
                highs.iter().copied().fold(0.0, f64::max) / (highs.iter().sum::<f64>() / highs.len() as f64)
            };
            record.scaled.iter().map(of_node).sum::<f64>() / record.scaled.len() as f64
        };
        let (before, after) = (spread(&calibrated.observed), spread(&after));
        assert!(after < before, "{before} before, {after} after");
    }
}

#[test]
fn silu_is_left_alone_and_counted() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let (equalized, record) = equalize(&calibrated.model, &calibrated.observed).unwrap();
    assert_eq!(equalized, calibrated.model);
    assert_eq!((record.scaled.len(), record.not_undone), (0, 3), "the three outputs");
    assert_eq!(record.not_homogeneous, 57);
}

#[test]
fn refinement_lowers_the_error_and_nothing_asked_changes_nothing() {
    let calibrated = calibrated("repyolov5n", Activation::Silu, IMGSZ);
    let plain = quantize(&calibrated.model, &calibrated.observed, &plan()).unwrap();
    let refined = |rounding, bias| {
        let mut model = plain.clone();
        refine(&calibrated.model, &mut model, &calibrated.images, Refinement { rounding, bias }).unwrap();
        model
    };
    assert_eq!(refined(Rounding::Nearest, Bias::Plain), plain);
    let before = error(&calibrated, &plain);
    let adapted = refined(Rounding::Adaptive, Bias::Corrected);
    let after = error(&calibrated, &adapted);
    assert!(after < before, "{before} before, {after} after");
    assert_eq!(adapted.scheme.tensors, plain.scheme.tensors, "scales stay");
    for (name, kernel) in &adapted.scheme.kernels {
        let far = kernel.values.iter().zip(&plain.scheme.kernels[name].values);
        assert!(far.clone().all(|(a, b)| a.abs_diff(*b) <= 1), "{name}");
    }
}

#[test]
fn sensitive_tensors_are_found_and_their_readers_kept_in_floats() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let mut model = quantize(&calibrated.model, &calibrated.observed, &plan()).unwrap();
    // Spoil one tensor: its scale is thirty times too large.
    let graph = &calibrated.model.architecture.graph;
    let spoiled = graph.nodes.iter().position(|node| node.name == "model.3.act").unwrap();
    model.scheme.tensors[spoiled].as_mut().unwrap().scale *= 30.0;
    let found = sensitivities(&calibrated.model, &model, &calibrated.images.spread(1)).unwrap();
    assert_eq!(found[0].tensor, "model.3.act");
    assert_eq!(found[0].readers, ["model.4.cv1.conv", "model.4.cv2.conv"]);
    let kept = worth_floats(&found, 0.05);
    assert!(kept.contains_key("model.4.cv1.conv") && kept.contains_key("model.4.cv2.conv"), "{kept:?}");

    let mixed = quantize(&calibrated.model, &calibrated.observed, &Plan { kept, ..plan() }).unwrap();
    assert_eq!(mixed.scheme.tensors[spoiled], None, "only floats read it");
    let session = export::quantized_session(&mixed).unwrap();
    let convs = mixed.scheme.kernels.len();
    assert_eq!(session.arithmetic().int8_convs.len(), convs, "the convolution before it still runs in int8");
    assert!(session.arithmetic().int8_convs.contains(&"model.3.conv".to_owned()));
    assert!(mixed.macs().unwrap().share() >= 0.95);
    assert!(error(&calibrated, &mixed) < error(&calibrated, &model));
}

#[test]
fn a_pass_is_kept_when_the_error_falls_or_when_it_was_asked_for() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let recipe = Recipe {
        method: Some(Method::MinMax),
        rules: Int8::default(),
        equalize: Switch::Auto,
        adaround: Switch::On,
        bias_correction: Switch::Off,
        float_macs: 0.0,
    };
    let outcome = run(&calibrated.model, &calibrated.images, &recipe).unwrap();
    let passes: Vec<(&str, bool)> =
        outcome.record.passes.iter().map(|pass| (pass.pass.as_str(), pass.kept)).collect();
    assert_eq!(passes, [("equalization", false), ("adaround", true)]);
    assert!(outcome.record.passes[0].note.as_ref().unwrap().contains("57 behind SiLU"));
    assert_eq!(outcome.model.scheme.origin.passes, ["adaround"]);
    assert_eq!(outcome.variants[outcome.chosen].model, outcome.model);
    assert!(outcome.record.candidates.is_empty(), "the method was given");
    let auto =
        run(&calibrated.model, &calibrated.images, &Recipe { method: None, adaround: Switch::Off, ..recipe });
    let record = auto.unwrap().record;
    assert_eq!(record.candidates.len(), 4);
    assert_eq!(record.method, record.candidates[0].method);
    let verdicts: Vec<_> = record.candidates.iter().map(|candidate| &candidate.verdict).collect();
    let most = verdicts.iter().filter_map(|verdict| verdict.agreement).fold(0.0, f64::max);
    assert!(verdicts[0].agreement.is_none_or(|agreement| agreement > most - 0.021), "{verdicts:?}");
    let alike = verdicts.iter().filter(|verdict| verdict.agreement == verdicts[0].agreement);
    assert!(alike.into_iter().all(|verdict| verdicts[0].total <= verdict.total), "best first");
}

/// Gives a model made before.
struct Played(QuantizedModel);

impl Trainer for Played {
    fn name(&self) -> &'static str {
        "played"
    }

    fn train(&self, _: &FusedModel, _: &QuantizedModel) -> train_host::Result<Trained> {
        Ok(Trained { model: self.0.clone(), note: "as told".into() })
    }
}

#[test]
fn a_training_is_kept_when_images_that_it_did_not_see_judge_it_better() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let recipe = Recipe {
        method: Some(Method::MinMax),
        rules: Int8::default(),
        equalize: Switch::Off,
        adaround: Switch::Off,
        bias_correction: Switch::Off,
        float_macs: 0.0,
    };
    let good = run(model, images, &recipe).unwrap();
    let mut worse = good.model.clone();
    for kernel in worse.scheme.kernels.values_mut() {
        kernel.values.iter_mut().for_each(|value| *value /= 2);
    }
    let left = tune(model, images, good.clone(), &Played(worse.clone())).unwrap();
    assert_eq!((&left.model, left.chosen, left.variants.len()), (&good.model, 0, 2));
    assert!(!left.record.passes[0].kept);
    assert_eq!(left.record.verdict, good.record.verdict);

    let mut start = Outcome { model: worse, ..good.clone() };
    start.record.verdict = left.variants[1].verdict.clone();
    let kept = tune(model, images, start, &Played(good.model.clone())).unwrap();
    assert_eq!(kept.model.scheme.kernels, good.model.scheme.kernels);
    assert_eq!(kept.model.scheme.origin.passes, ["played"]);
    assert_eq!((kept.chosen, kept.variants.len()), (1, 2));
    assert_eq!(kept.variants[1].name, "minmax + played");
    let pass = &kept.record.passes[0];
    assert!(pass.kept && pass.after < pass.before && pass.note.as_deref() == Some("as told"), "{pass:?}");
    assert_eq!(kept.record.verdict, good.record.verdict);

    let (held, rest) = images.hold_out();
    assert_eq!(without_judges(images.paths(), images), rest.paths());
    assert!(!rest.paths().contains(&held.paths()[0]));
}
