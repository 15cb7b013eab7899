//! The passes that win accuracy back, on random models: equalization computes the same, refinement lowers the error of
//! the layers it refines, and what each did is recorded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use boards::Int8;
use support::calibration::{Calibrated, calibrated, outputs, pixels};
use support::relative_error;
use train_host::Error;
use train_host::evaluate::Progress;
use train_host::export;
use train_host::model::{Activation, FusedModel};
use train_host::quantize::error::{Reference, total};
use train_host::quantize::passes::{
    Bias, Refinement, Rounding, equalize, refine, sensitivities, worth_floats,
};
use train_host::quantize::{
    Calibration, Images, Judged, Method, Outcome, Plan, QuantizedModel, Recipe, Switch, Trained, Trainer,
    compare, quantize, run, tune,
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
    let outcome = run(&calibrated.model, &Calibration::all(&calibrated.images), &recipe).unwrap();
    let passes: Vec<(&str, bool)> =
        outcome.record.passes.iter().map(|pass| (pass.pass.as_str(), pass.kept)).collect();
    assert_eq!(passes, [("equalization", false), ("adaround", true)]);
    assert!(outcome.record.passes[0].note.as_ref().unwrap().contains("57 behind SiLU"));
    assert_eq!(outcome.model.scheme.origin.passes, ["adaround"]);
    assert_eq!(outcome.variants[outcome.chosen].model, outcome.model);
    assert!(outcome.record.candidates.is_empty(), "the method was given");
    let tried = |recipe: &Recipe| -> Vec<(String, bool)> {
        let passes =
            run(&calibrated.model, &Calibration::all(&calibrated.images), recipe).unwrap().record.passes;
        passes.into_iter().skip(1).map(|pass| (pass.pass, pass.kept)).collect()
    };
    let both = tried(&Recipe { bias_correction: Switch::On, ..recipe.clone() });
    assert_eq!(both, [("bias correction + adaround".to_owned(), true)]);
    let three = tried(&Recipe { adaround: Switch::Auto, bias_correction: Switch::Auto, ..recipe.clone() });
    assert_eq!(three.len(), 3, "each alone, and both");
    assert!(three.iter().filter(|(_, kept)| *kept).count() <= 1, "{three:?}");

    let auto = run(
        &calibrated.model,
        &Calibration::all(&calibrated.images),
        &Recipe { method: None, adaround: Switch::Off, ..recipe },
    );
    let record = auto.unwrap().record;
    assert_eq!(record.candidates.len(), 4);
    assert_eq!(record.method, record.candidates[0].method);
    let verdicts: Vec<_> = record.candidates.iter().map(|candidate| &candidate.verdict).collect();
    let most = verdicts.iter().filter_map(|verdict| verdict.agreement).fold(0.0, f64::max);
    // One of four images judges, with two altered copies.
    let margin = 0.2 / 3_f64.sqrt();
    assert!(verdicts[0].agreement.is_none_or(|agreement| agreement >= most - margin), "{verdicts:?}");
    let alike = verdicts.iter().filter(|verdict| verdict.agreement == verdicts[0].agreement);
    assert!(alike.into_iter().all(|verdict| verdicts[0].total <= verdict.total), "best first");
}

/// All passes that need no training, on what `model` gives for `images`.
fn everything() -> Recipe {
    Recipe {
        method: Some(Method::MinMax),
        rules: Int8::default(),
        equalize: Switch::Auto,
        adaround: Switch::Auto,
        bias_correction: Switch::Auto,
        float_macs: 0.05,
    }
}

#[test]
fn weights_beyond_16_bits_leave_mixed_precision_out() {
    let mut calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let kernel = calibrated.model.weights.get("model.3.conv.weight").unwrap().clone();
    let mut values = kernel.data;
    values[0] = 1e5;
    calibrated.model.weights.insert("model.3.conv.weight", &kernel.shape, values);
    let record = run(&calibrated.model, &Calibration::all(&calibrated.images), &everything()).unwrap().record;
    let pass = record.passes.iter().find(|pass| pass.pass == "mixed precision").unwrap();
    assert!(!pass.kept && pass.note.as_ref().unwrap().contains("model.3.conv"), "{pass:?}");
}

#[test]
fn values_that_only_a_judging_image_makes_infinite_name_their_layer_and_image() {
    let mut model = calibrated("yolov5n", Activation::Relu, IMGSZ).model;
    let folder = tempfile::tempdir().unwrap();
    for index in 0..4_u8 {
        // The fourth is held out: white, the others at most half as bright.
        let level = if index == 3 { 255 } else { 100 + index };
        let mut image = repedge::Image::filled(IMGSZ, IMGSZ, [level; 3]);
        image.rgb[0] = 0;
        repedge::frame::write_png(&folder.path().join(format!("{index}.png")), &image).unwrap();
    }
    let images = Images::in_folder(folder.path(), Progress::Hidden).unwrap();
    // One channel of the first convolution is too much for white, and nobody reads it.
    for (name, is_of_channel) in [
        ("model.0.conv.weight", (|at, per_channel, _| at < per_channel) as fn(usize, usize, usize) -> bool),
        ("model.1.conv.weight", |at, per_channel, inputs| at % per_channel < per_channel / inputs),
    ] {
        let kernel = model.weights.get(name).unwrap().clone();
        let per_channel = kernel.data.len() / kernel.shape[0];
        let value = if name.starts_with("model.0") { f32::MAX / per_channel as f32 / 0.75 } else { 0.0 };
        let mut values = kernel.data;
        for (at, weight) in values.iter_mut().enumerate() {
            if is_of_channel(at, per_channel, kernel.shape[1]) {
                *weight = value;
            }
        }
        model.weights.insert(name, &kernel.shape, values);
    }
    let error = run(&model, &Calibration::all(&images), &everything()).unwrap_err().to_string();
    assert!(["\"model.0.conv\"", "inf", "3.png"].iter().all(|part| error.contains(part)), "{error}");
}

/// Gives a model made before, or fails.
struct Played(Option<QuantizedModel>);

impl Trainer for Played {
    fn name(&self) -> &'static str {
        "played"
    }

    fn train(&self, _: &FusedModel, _: &QuantizedModel) -> train_host::Result<Trained> {
        let failed = || Error::backend("no loss", "a loss", "this is a test");
        Ok(Trained { model: self.0.clone().ok_or_else(failed)?, note: "as told".into() })
    }
}

/// Minmax and no pass.
fn no_pass() -> Recipe {
    let off = Switch::Off;
    Recipe {
        method: Some(Method::MinMax),
        rules: Int8::default(),
        equalize: off,
        adaround: off,
        bias_correction: off,
        float_macs: 0.0,
    }
}

#[test]
fn images_beyond_those_calibrated_on_judge() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let calibration = &Calibration::of(images, 3);
    let [calibrated, judges] = [calibration.calibrated(), calibration.judges()];
    let mut outcome = run(model, calibration, &no_pass()).unwrap();
    assert_eq!((outcome.record.images, outcome.record.held_out), (3, 1));
    let observed = train_host::quantize::observe(model, calibrated).unwrap();
    let expected = quantize(model, &observed, &Plan { method: Method::MinMax, ..plan() }).unwrap();
    assert_eq!(outcome.model, expected, "of what was calibrated on alone");
    let reference = Reference::of(model, judges).unwrap();
    let judged = |model: &QuantizedModel| {
        total(&reference.errors(&mut export::quantized_session(model).unwrap()).unwrap())
    };
    assert_eq!(outcome.record.verdict.total, judged(&expected));
    let mut other = expected.clone();
    other.scheme.kernels.values_mut().for_each(|kernel| kernel.bias.iter_mut().for_each(|bias| *bias += 9));
    let error = judged(&other);
    tune(model, calibration, &mut outcome, &Played(Some(other))).unwrap();
    assert_eq!(outcome.record.passes[0].after, error, "trained on, it is judged by the same images");
}

#[test]
fn a_report_tells_what_each_tensor_costs_where_nothing_may_stay_in_floats() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let calibration = &Calibration::all(images);
    let outcome = &run(model, calibration, &no_pass()).unwrap();
    assert!(outcome.record.sensitivities.is_empty(), "the quantization has no need of it");
    let judged = Judged { model, outcome, images: calibration.judges(), labels: None, seen: &[] };
    let costs = compare(&judged).unwrap().sensitivities;
    let readers: usize = costs.iter().map(|cost| cost.readers.len()).sum();
    assert_eq!(readers, outcome.model.scheme.kernels.len(), "each convolution reads one of them");
    assert!(costs.is_sorted_by(|a, b| a.total >= b.total) && costs[0].total > 0.0);
}

#[test]
fn a_training_is_kept_when_images_that_it_did_not_see_judge_it_better() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let calibration = &Calibration::all(images);
    let good = run(model, calibration, &no_pass()).unwrap();
    let mut worse = good.model.clone();
    for kernel in worse.scheme.kernels.values_mut() {
        kernel.values.iter_mut().for_each(|value| *value /= 2);
    }
    let mut left = good.clone();
    tune(model, calibration, &mut left, &Played(Some(worse.clone()))).unwrap();
    assert_eq!((&left.model, left.chosen, left.variants.len()), (&good.model, 0, 2));
    assert!(!left.record.passes[0].kept);
    assert_eq!(left.record.verdict, good.record.verdict);

    let mut kept = Outcome { model: worse, ..good.clone() };
    kept.record.verdict = left.variants[1].verdict.clone();
    tune(model, calibration, &mut kept, &Played(Some(good.model.clone()))).unwrap();
    assert_eq!(kept.model.scheme.kernels, good.model.scheme.kernels);
    assert_eq!(kept.model.scheme.origin.passes, ["played"]);
    assert_eq!((kept.chosen, kept.variants.len()), (1, 2));
    assert_eq!(kept.variants[1].name, "minmax + played");
    let pass = &kept.record.passes[0];
    assert!(pass.kept && pass.after < pass.before && pass.note.as_deref() == Some("as told"), "{pass:?}");
    assert_eq!(kept.record.verdict, good.record.verdict);

    let mut unchanged = good.clone();
    assert!(tune(model, calibration, &mut unchanged, &Played(None)).is_err());
    assert_eq!(unchanged, good, "a training that fails takes nothing with it");
}
