//! Boxes spread over the range of scores: the same boxes in floats, stored in finer steps in int8, and told wherever the
//! model goes.

use artifact::{Spread, Tensor, TensorData};
use repedge::frame::{Image, read_image};
use train_host::import::{self, Options};
use train_host::model::{Checkpoint, Head, spread_boxes};
use train_host::quantize::{Images, spread};

use super::*;

/// What the raw outputs tell, in logits.
fn logits(head: &Head, tensors: &[Tensor]) -> Vec<Vec<f32>> {
    let of_output = |(output, tensor): (usize, &Tensor)| {
        let TensorData::F32(values) = &tensor.data else { panic!("{tensor:?}") };
        let plane = values.len() / tensor.channels();
        let told = |(at, value): (usize, &f32)| head.spread_of(output, at / plane).logit(*value);
        values.iter().enumerate().map(told).collect()
    };
    tensors.iter().enumerate().map(of_output).collect()
}

fn float_logits(model: &FusedModel, seed: u64) -> Vec<Vec<f32>> {
    let mut session = export::session(model).unwrap();
    logits(&model.architecture.head, &outputs(&mut session, &pixels(model.imgsz, seed)))
}

#[test]
fn spread_boxes_are_the_same_in_floats() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let wide = spread(model, images, RULES[0]).unwrap();
    wide.architecture.validate().unwrap();
    assert_ne!(wide.architecture.head.spread, model.architecture.head.spread);
    for (wide, plain) in float_logits(&wide, 5).iter().zip(&float_logits(model, 5)) {
        let far = wide.iter().zip(plain).filter(|(a, b)| (*a - *b).abs() > 1e-4 * b.abs().max(1.0));
        assert_eq!((far.count(), wide.len()), (0, plain.len()));
    }
}

#[test]
fn spread_boxes_are_stored_in_finer_steps_and_most_come_nearer() {
    let Calibrated { model, images, observed, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let wide = spread(model, images, RULES[0]).unwrap();
    let wide_int8 = quantize(&wide, &observe(&wide, images).unwrap(), &plan(Method::Mse, RULES[0])).unwrap();
    let plain_int8 = quantize(model, observed, &plan(Method::Mse, RULES[0])).unwrap();
    let head = &wide.architecture.head;
    for (output, &id) in wide.architecture.graph.outputs.iter().enumerate() {
        let [wide, plain] = [&wide_int8, &plain_int8].map(|model| model.scheme.tensors[id].unwrap().scale);
        for part in 0..4 {
            let step = wide / head.spread_of(output, part).gain;
            assert!(step < 0.9 * plain, "output {output}, channel {part}: {step} and {plain}");
        }
    }
    let (wide, plain) = (rounding(&wide, images), rounding(model, images));
    assert!(wide < 0.9 * plain, "storing moves boxes by {wide} spread and by {plain} as they were");
}

/// How far storing moves half of the boxes of an image at most, in logits: beside the same model whose outputs stay real,
/// since what comes before them rounds by chance. The few that a scale cuts off are not judged here: they move further.
fn rounding(model: &FusedModel, images: &Images) -> f32 {
    let observed = observe(model, images).unwrap();
    let head = &model.architecture.head;
    let image = as_input(&read_image(&images.paths()[0]).unwrap());
    let logits = |outputs| {
        let rules = Int8 { outputs, ..RULES[0] };
        let int8 = quantize(model, &observed, &plan(Method::Mse, rules)).unwrap();
        int8.integer_outputs(&image).unwrap()
    };
    let (stored, real) = (logits(Outputs::Stored), logits(Outputs::Real));
    let per_anchor = 5 + head.classes.len();
    let of_output = |(output, (stored, real)): (usize, (&Vec<f32>, &Vec<f32>))| -> Vec<f32> {
        let plane = (model.imgsz / head.strides[output]).pow(2);
        let boxes = (0..real.len()).filter(|at| at / plane % per_anchor < 4);
        let logit = |at: usize, value: f32| head.spread_of(output, at / plane).logit(value);
        boxes.map(|at| (logit(at, stored[at]) - logit(at, real[at])).abs()).collect()
    };
    let mut moved: Vec<f32> = stored.iter().zip(&real).enumerate().flat_map(of_output).collect();
    moved.sort_by(f32::total_cmp);
    moved[moved.len() / 2]
}

/// A square image as the float input of a model of its size.
fn as_input(image: &Image) -> Tensor {
    let channel = |channel| image.rgb.iter().skip(channel).step_by(3).map(|&byte| f32::from(byte) / 255.0);
    let data = TensorData::F32((0..3).flat_map(channel).collect());
    Tensor { shape: [1, 3, image.height_px, image.width_px], data, ..pixels(image.width_px, 0) }
}

#[test]
fn what_stores_no_boxes_with_scores_is_left_alone() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Relu, IMGSZ);
    let real = Int8 { outputs: Outputs::Real, ..RULES[0] };
    assert_eq!(spread(model, images, real).unwrap(), *model);
    let split = with_split_head(model.clone());
    assert_eq!(spread(&split, images, RULES[0]).unwrap(), split);
    let wide = spread(model, images, RULES[0]).unwrap();
    let again = spread(&wide, images, RULES[0]).unwrap();
    let gains = |model: &FusedModel| -> Vec<f32> {
        model.architecture.head.spread.iter().flatten().flatten().map(|spread| spread.gain).collect()
    };
    let mut pairs = gains(&wide).into_iter().zip(gains(&again));
    assert!(pairs.all(|(once, twice)| (once - twice).abs() < 1e-3 * once), "never twice over");
    let plain = spread_boxes(&again, Vec::new()).unwrap();
    assert_eq!(plain.architecture, model.architecture);
}

#[test]
fn a_level_without_objects_can_still_tell_them() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Silu, IMGSZ);
    let mut blind = model.clone();
    let id = *blind.architecture.graph.outputs.last().unwrap();
    let name = format!("{}.bias", blind.architecture.graph.nodes[id].name);
    let per_anchor = 5 + blind.architecture.head.classes.len();
    let mut bias = blind.weights.get(&name).unwrap().data.clone();
    bias.iter_mut().enumerate().filter(|(at, _)| at % per_anchor >= 4).for_each(|(_, bias)| *bias -= 30.0);
    blind.weights.insert(&name, &[bias.len()], bias);
    let wide = spread(&blind, images, RULES[0]).unwrap();
    let int8 = quantize(&wide, &observe(&wide, images).unwrap(), &plan(Method::Mse, RULES[0])).unwrap();
    let quant = int8.scheme.tensors[id].unwrap();
    let [lowest, highest] = [-128, 127].map(|code| (code - quant.zero_point) as f32 * quant.scale);
    assert!(highest > 3.9, "a score reaches {highest}");
    let told = |value: f32| wide.architecture.head.spread_of(2, 2).logit(value);
    assert!(told(lowest) <= -2.0 && told(highest) >= 2.0, "{} to {}", told(lowest), told(highest));
}

#[test]
fn a_spread_that_cannot_be_read_is_refused() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Relu, IMGSZ);
    let wide = spread(model, images, RULES[0]).unwrap();
    let mut bytes = export::onnx::write(&wide).unwrap();
    let at = bytes.windows(10).position(|window| window == b"box_spread").unwrap();
    let value = at + bytes[at..].windows(6).position(|window| window == b"\"gain\"").unwrap();
    bytes[value + 1] = b'x';
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.onnx");
    std::fs::write(&path, bytes).unwrap();
    let error = import::open_with(&path, &Options { names: None, imgsz: None }).unwrap_err().to_string();
    assert!(error.contains("box_spread") && error.contains("cannot be read"), "{error}");
}

#[test]
fn files_tell_how_boxes_are_spread() {
    let Calibrated { model, images, .. } = &calibrated("yolov5n", Activation::Relu, IMGSZ);
    let wide = spread(model, images, RULES[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.onnx");
    std::fs::write(&path, export::onnx::write(&wide).unwrap()).unwrap();
    let options = Options { names: None, imgsz: None };
    let Checkpoint::Fused(read) = import::open_with(&path, &options).unwrap().checkpoint else {
        panic!("ONNX")
    };
    assert!(read.architecture.head.spread.is_empty(), "whoever reads a file gets logits");
    for (read, plain) in float_logits(&read, 5).iter().zip(&float_logits(model, 5)) {
        assert!(read.iter().zip(plain).all(|(a, b)| (a - b).abs() <= 1e-3 * b.abs().max(1.0)));
    }

    let int8 = quantize(&wide, &observe(&wide, images).unwrap(), &plan(Method::Mse, RULES[0])).unwrap();
    let path = folder.path().join("wide.safetensors");
    train_host::quantize::file::save(&path, &int8).unwrap();
    assert_eq!(train_host::quantize::file::load(&path).unwrap(), int8);
    assert!(int8.architecture.head.spread.iter().flatten().flatten().any(|it| *it != Spread::NONE));
}
