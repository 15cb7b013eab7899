//! What cannot be quantized: a named layer or image and a clear message, never a silent scale of 0 or infinity.

use train_host::quantize::error::OutputError;

use super::*;

/// Int8 by the plainest way.
fn no_pass() -> Recipe {
    Recipe {
        method: Some(Method::MinMax),
        rules: RULES[0],
        equalize: Switch::Off,
        adaround: Switch::Off,
        bias_correction: Switch::Off,
        float_macs: 0.0,
    }
}

#[test]
fn images_of_one_color_are_refused() {
    let model = fused("yolov5n", Activation::Silu, IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let black = repedge::Image::filled(IMGSZ, IMGSZ, [0; 3]);
    repedge::frame::write_png(&folder.path().join("a.png"), &black).unwrap();
    let images =
        train_host::quantize::Images::in_folder(folder.path(), train_host::evaluate::Progress::Hidden);
    let error = message(observe(&model, &images.unwrap()).unwrap_err());
    assert!(error.contains("one color") && error.contains("lens"), "{error}");
}

#[test]
fn images_of_one_color_do_not_judge() {
    let model = fused("yolov5n", Activation::Silu, IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    // The last of four judges.
    let black = repedge::Image::filled(IMGSZ, IMGSZ, [0; 3]);
    repedge::frame::write_png(images.paths().last().unwrap(), &black).unwrap();
    let error = message(run(&model, &Calibration::all(&images), &no_pass()).unwrap_err());
    assert!(error.contains("1 image to judge by, of one color"), "{error}");
}

#[test]
fn single_images_of_one_color_are_counted() {
    let model = fused("yolov5n", Activation::Silu, IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    assert_eq!(observe(&model, &images).unwrap().one_colored, 0);
    let black = repedge::Image::filled(IMGSZ, IMGSZ, [0; 3]);
    images.paths()[..2].iter().for_each(|path| repedge::frame::write_png(path, &black).unwrap());
    assert_eq!(observe(&model, &images).unwrap().one_colored, 2);
}

#[test]
fn values_that_are_not_finite_name_their_layer_and_image() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    for (value, expected) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut model = fused("yolov5n", Activation::Relu, IMGSZ);
        let name = "model.3.conv.bias";
        let mut bias = model.weights.get(name).unwrap().data.clone();
        bias[1] = value;
        model.weights.insert(name, &[bias.len()], bias);
        let error = message(observe(&model, &images).unwrap_err());
        assert!(error.contains("\"model.3.conv\"") && error.contains(expected), "{error}");
        assert!(error.contains(".png"), "{error}");
    }
}

#[test]
fn a_dead_layer_is_named_and_a_dead_channel_keeps_its_bias() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let mut model = fused("yolov5n", Activation::Relu, IMGSZ);
    let kernel = model.weights.get("model.3.conv.weight").unwrap().clone();
    let per_channel = kernel.data.len() / kernel.shape[0];
    let mut values = kernel.data.clone();
    values[..per_channel].fill(0.0);
    model.weights.insert("model.3.conv.weight", &kernel.shape, values);
    let mut bias = model.weights.get("model.3.conv.bias").unwrap().data.clone();
    bias[0] = -1.0;
    model.weights.insert("model.3.conv.bias", &[bias.len()], bias);
    let observed = observe(&model, &images).unwrap();
    let silent = observed.silent_channels(&model.architecture.graph);
    assert!(silent["model.3.act"].contains(&0), "below 0, ReLU lets nothing through: {silent:?}");
    let quantized = quantize(&model, &observed, &plan(Method::Mse, RULES[0])).unwrap();
    assert_eq!(train_host::quantize::dead_channels(&model).unwrap(), ["model.3.conv: channel 0"]);
    let stored = &quantized.scheme.kernels["model.3.conv"];
    assert!(stored.scales[0] > 0.0 && stored.values[..per_channel].iter().all(|&value| value == 0));

    model.weights.insert("model.3.conv.weight", &kernel.shape, vec![0.0; kernel.data.len()]);
    model.weights.insert("model.3.conv.bias", &[kernel.shape[0]], vec![-1.0; kernel.shape[0]]);
    let observed = observe(&model, &images).unwrap();
    let error = message(quantize(&model, &observed, &plan(Method::Mse, RULES[0])).unwrap_err());
    assert!(error.contains("\"model.3.act\"") && error.contains("nothing but 0"), "{error}");
}

#[test]
fn what_32_bits_cannot_hold_stays_in_floats() {
    // 5000 · 9 products of up to 255 · 127 are more than an i32 holds.
    let conv = Conv { cin: 5000, cout: 1, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 1, bias: true };
    assert!(!train_host::quantize::sums_fit(&conv));
    assert!(train_host::quantize::sums_fit(&Conv { cin: 512, ..conv }));
    let mut model = random_layer(3, Conv { cin: 2, ..conv }, None, (0, None));
    model.scheme.kernels.get_mut("conv").unwrap().bias[0] = i32::MAX;
    assert!(message(model.validate_scheme().unwrap_err()).contains("32 bits"));
}

#[test]
fn a_bias_whose_scale_vanishes_is_named() {
    let conv = Conv { cin: 2, cout: 1, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let mut model = random_layer(3, conv, None, (0, None));
    model.validate_scheme().unwrap();
    // Either is a scale that f32 holds.
    model.scheme.tensors[1].as_mut().unwrap().scale = 1e-30;
    model.scheme.kernels.get_mut("conv").unwrap().scales.fill(1e-9);
    let error = message(model.validate_scheme().unwrap_err());
    assert!(["\"conv\"", "1e-9", "1e-30", "bias"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn a_kernel_too_wide_to_round_adaptively_is_rounded_to_nearest_and_named() {
    let mut model = attention_model(IMGSZ);
    let graph = &mut model.architecture.graph;
    let outputs = 3 * (5 + model.architecture.head.classes.len());
    graph.nodes.pop();
    let joined = graph.nodes.len() - 1;
    let widen =
        Conv { cin: 32, cout: 1024, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let wide = graph.push("wide", Op::Conv(widen), &[joined]);
    let raw =
        graph.push("raw", Op::Conv(Conv { cin: 1024, cout: outputs, kernel: 3, pad: 1, ..widen }), &[wide]);
    graph.outputs = vec![raw];
    model.weights = support::random_weights(graph, 7);
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let plain = run(&model, &Calibration::all(&images), &no_pass()).unwrap().model;
    let recipe = Recipe { adaround: Switch::On, ..no_pass() };
    let rounded = run(&model, &Calibration::all(&images), &recipe).unwrap();
    let [kernels, before] = [&rounded.model.scheme.kernels, &plain.scheme.kernels];
    assert_eq!(kernels["raw"], before["raw"]);
    assert_ne!(kernels["wide"], before["wide"], "all others are rounded");
    let note = rounded.record.passes[0].note.clone().unwrap();
    assert!(note.contains("nearest") && note.ends_with(": raw"), "{note}");
}

#[test]
fn a_model_with_sums_beyond_32_bits_keeps_that_layer_in_floats_and_says_why() {
    let mut model = attention_model(IMGSZ);
    let graph = &mut model.architecture.graph;
    let outputs = 3 * (5 + model.architecture.head.classes.len());
    graph.nodes.pop();
    let joined = graph.nodes.len() - 1;
    let widen =
        Conv { cin: 32, cout: 5000, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let wide = graph.push("wide", Op::Conv(widen), &[joined]);
    let raw = Conv { cin: 5000, cout: outputs, kernel: 3, pad: 1, ..widen };
    let raw = graph.push("raw", Op::Conv(raw), &[wide]);
    graph.outputs = vec![raw];
    model.weights = support::random_weights(graph, 7);
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let quantized = run(&model, &Calibration::all(&images), &no_pass()).unwrap();
    assert!(quantized.model.is_int8(wide) && !quantized.model.is_int8(raw));
    let why = &quantized.record.floats["raw"];
    assert!(why.contains("32 bits may not hold sums of 45000 products"), "{why}");
}

/// `model` with `value` for the first bias of `node`.
fn with_bias(mut model: FusedModel, node: &str, value: f32) -> FusedModel {
    let name = format!("{node}.bias");
    let mut bias = model.weights.get(&name).unwrap().data.clone();
    bias[0] = value;
    model.weights.insert(&name, &[bias.len()], bias);
    model
}

/// Checks that every scale is one that engines can compute with, and that what they compute is finite.
fn assert_sound(model: &QuantizedModel) {
    let names = model.architecture.graph.nodes.iter().map(|node| &node.name);
    for (name, quant) in names.zip(&model.scheme.tensors) {
        let Some(quant) = quant else { continue };
        assert!(quant.scale.is_normal() && quant.scale > 0.0, "{name}: {quant:?}");
    }
    for (name, kernel) in &model.scheme.kernels {
        assert!(kernel.scales.iter().all(|scale| scale.is_normal() && *scale > 0.0), "{name}");
    }
    for output in outputs(&mut export::quantized_session(model).unwrap(), &pixels(IMGSZ, 5)) {
        let quant = output.quant.unwrap();
        let TensorData::I8(codes) = output.data else { panic!("{:?}", output.data) };
        assert!(codes.iter().all(|&code| repedge::int8::dequantize(code, quant).is_finite()), "{quant:?}");
    }
}

#[test]
fn an_output_of_1e30_has_a_scale_that_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let model = with_bias(fused("yolov5n", Activation::Relu, IMGSZ), "model.24.m.0", 1e30);
    let observed = observe(&model, &images).unwrap();
    let output = model.architecture.graph.outputs[0];
    for method in Method::ALL {
        let quantized = quantize(&model, &observed, &plan(method, RULES[0])).unwrap();
        assert_sound(&quantized);
        let quant = quantized.scheme.tensors[output].unwrap();
        // Half of it at least: methods may clip, but not what a whole channel is. To the least error of boxes a coordinate
        // that saturates is worth nothing, however large it is.
        let least = if method == Method::Mse { 1e3 } else { 5e29 };
        assert!(repedge::int8::dequantize(i8::MAX, quant) > least, "{method}: {quant:?}");
    }
    let record = run(&model, &Calibration::all(&images), &no_pass()).unwrap().record;
    assert!(record.verdict.total.is_finite() && record.verdict.outputs.len() == 9, "{:?}", record.verdict);
    let finite = |error: &OutputError| {
        [error.sqnr_db, error.max_abs, error.mean_shift, error.cost].iter().all(|figure| figure.is_finite())
    };
    assert!(record.verdict.outputs.iter().all(finite), "{:?}", record.verdict.outputs);
}

/// What comes of it depends on the layers behind it: they may grow it beyond what f32 holds.
#[test]
fn an_activation_of_1e30_inside_the_model_is_stored_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    for act in [Activation::Relu, Activation::Silu] {
        for node in ["model.3.conv", "model.23.cv3.conv"] {
            let model = with_bias(fused("yolov5n", act, IMGSZ), node, 1e30);
            let result = observe(&model, &images).and_then(|observed| {
                RULES
                    .map(|rules| quantize(&model, &observed, &plan(Method::MinMax, rules)))
                    .into_iter()
                    .collect()
            });
            let quantized: Vec<QuantizedModel> = match result {
                Ok(quantized) => quantized,
                Err(error) => {
                    let error = message(error);
                    assert!(error.contains("node \"model.") && error.contains(" gives "), "{error}");
                    continue;
                }
            };
            quantized.iter().for_each(assert_sound);
        }
    }
}

#[test]
fn values_too_small_for_a_scale_are_told_from_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let mut model = fused("yolov5n", Activation::Relu, IMGSZ);
    let kernel = model.weights.get("model.3.conv.weight").unwrap().clone();
    model.weights.insert("model.3.conv.weight", &kernel.shape, vec![0.0; kernel.data.len()]);
    model.weights.insert("model.3.conv.bias", &[kernel.shape[0]], vec![1e-37; kernel.shape[0]]);
    let observed = observe(&model, &images).unwrap();
    let error = message(quantize(&model, &observed, &plan(Method::MinMax, RULES[0])).unwrap_err());
    assert!(error.contains("\"model.3.act\"") && error.contains("1.0e-37"), "{error}");
    assert!(!error.contains("nothing but 0"), "{error}");
}
