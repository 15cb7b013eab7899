use artifact::{DType, Layout};
use boards::Int8;
use repedge::frame::{Image, write_png};
use tempfile::TempDir;

use super::*;
use crate::evaluate::Progress;
use crate::model::{Activation, Architecture, Boxes, Conv, Graph, Op, Overrides, Weights};
use crate::quantize::Method;
use crate::quantize::images::input_spec;
use crate::quantize::observe::observe;
use crate::quantize::ptq::{Plan, quantize};
use ChannelGroup::{Box as Boxed, Class, Objectness};

/// Side of images, which are square: all of an output is the picture's.
const SIDE_PX: usize = 32;

/// A session that gives the same for every image.
struct Given {
    input: TensorSpec,
    specs: Vec<TensorSpec>,
    outputs: Vec<Vec<f32>>,
}

impl Session for Given {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.specs
    }

    fn run(&mut self, _: &Tensor, outputs: &mut [Tensor]) -> std::result::Result<(), repedge::Error> {
        for (output, values) in outputs.iter_mut().zip(&self.outputs) {
            output.data = TensorData::F32(values.clone());
        }
        Ok(())
    }
}

/// Some images, and the folder they are in.
fn images(count: usize) -> (TempDir, Images) {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        let pixel = |at: usize| u8::try_from((at * at + at * number * 7) % 251).unwrap();
        let rgb = (0..SIDE_PX * SIDE_PX * 3).map(pixel).collect();
        let image = Image { width_px: SIDE_PX, height_px: SIDE_PX, rgb };
        write_png(&folder.path().join(format!("{number}.png")), &image).unwrap();
    }
    let images = Images::in_folder(folder.path(), Progress::Hidden).unwrap();
    (folder, images)
}

/// Errors of the outputs `found` where `expected` were expected; each has as many channels and a side as `shapes` say.
fn errors(
    head: &Head,
    shapes: &[[usize; 2]],
    expected: &[Vec<f32>],
    found: Vec<Vec<f32>>,
) -> Result<Vec<OutputError>> {
    let (_folder, images) = images(1);
    let spec = |(at, &[channels, side]): (usize, &[usize; 2])| TensorSpec {
        name: format!("output{at}"),
        dtype: DType::F32,
        layout: Layout::Nchw,
        shape: [1, channels, side, side],
        quant: None,
    };
    let specs = shapes.iter().enumerate().map(spec).collect();
    let mut session = Given { input: input_spec(SIDE_PX), specs, outputs: found };
    let reference = Reference { head, images, imgsz: SIDE_PX, outputs: vec![expected.to_vec()] };
    reference.errors(&mut session)
}

fn of(errors: &[OutputError], output: usize, group: ChannelGroup) -> &OutputError {
    let name = format!("output{output}");
    errors.iter().find(|error| error.output == name && error.group == group).unwrap()
}

/// A head of two classes with these anchors at each stride.
fn anchored(anchors_px: Vec<Vec<[f32; 2]>>) -> Head {
    let strides = [8, 16, 32][..anchors_px.len()].to_vec();
    Head::with_anchors(vec!["a".into(), "b".into()], strides, anchors_px)
}

/// A value for each of `channels` channels and `places` places.
fn values(channels: usize, places: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    (0..channels * places).map(|at| value(at / places, at % places)).collect()
}

fn sign(place: usize) -> f32 {
    if place.is_multiple_of(2) { 1.0 } else { -1.0 }
}

#[test]
fn figures_are_those_of_their_definitions() {
    let head = anchored(vec![vec![[8.0, 8.0]]]);
    let expected = values(7, 4, |channel, place| if channel < 4 { 2.0 } else { sign(place) });
    // Boxes are shifted, objectness is exact, classes are off to both sides alike.
    let found = values(7, 4, |channel, place| match channel {
        0..4 => 2.2,
        4 => sign(place),
        _ => 1.1 * sign(place),
    });
    let errors = errors(&head, &[[7, 2]], &[expected], vec![found]).unwrap();
    assert_eq!(errors.len(), 3);
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} {b}");
    for (group, [sqnr_db, max_abs, mean_shift]) in
        [(Boxed, [20.0, 0.2, 0.2]), (Objectness, [NOISELESS_DB, 0.0, 0.0]), (Class, [20.0, 0.1, 0.0])]
    {
        let error = of(&errors, 0, group);
        near(error.sqnr_db, sqnr_db);
        near(error.max_abs, max_abs);
        near(error.mean_shift, mean_shift);
    }
}

#[test]
fn noise_without_values_and_values_without_noise_have_finite_ratios() {
    let mut sums = Sums::default();
    sums.add(0.0, 0.0);
    assert_eq!(sums.sqnr_db(), NOISELESS_DB);
    sums.add(0.0, 1e-9);
    assert_eq!(sums.sqnr_db(), -NOISELESS_DB);
    let mut sums = Sums::default();
    sums.add(1.0, 0.0);
    assert_eq!(sums.sqnr_db(), 0.0, "all is lost");
}

/// One place with one object of class 1, all box logits 0. A shift of the center by a logit is one by half a stride of 8,
/// of a box 8 pixels wide: it costs 128 times what a logit of the score does.
#[test]
fn an_error_costs_what_its_group_costs_a_detection() {
    let head = anchored(vec![vec![[8.0, 80.0]]]);
    let expected = vec![0.0, 0.0, 0.0, 0.0, 2.0, -9.0, 3.0];
    let found = vec![0.5, 0.0, 0.0, 0.0, 1.5, -9.5, 3.0];
    let errors = errors(&head, &[[7, 1]], &[expected], vec![found]).unwrap();
    for (group, cost) in [(Boxed, 128.0 * 0.25), (Objectness, 0.25), (Class, 0.0)] {
        let error = of(&errors, 0, group);
        assert!((error.cost - cost).abs() < 1e-6, "{error:?} {cost}");
    }
    assert!((total(&errors) - (129.0_f64 * 0.25).sqrt()).abs() < 1e-6);
}

/// Where nothing is found there are no scores to divide by: then every error counts.
#[test]
fn without_an_object_the_cost_is_the_mean_square() {
    let head = anchored(vec![vec![[8.0, 8.0]]]);
    let expected = values(7, 4, |_, _| -20.0);
    let found = values(7, 4, |channel, _| if channel == 4 { -20.5 } else { -20.0 });
    let errors = errors(&head, &[[7, 2]], &[expected], vec![found]).unwrap();
    assert!((of(&errors, 0, Objectness).cost - 0.25).abs() < 1e-6, "{errors:?}");
    assert_eq!(of(&errors, 0, Class).cost, 0.0);
}

/// Of outputs of such shapes, in which group an error in each channel alone is.
fn group_of_each(head: &Head, shapes: &[[usize; 2]]) -> Vec<Vec<ChannelGroup>> {
    let expected: Vec<Vec<f32>> = shapes
        .iter()
        .map(|&[channels, side]| values(channels, side * side, |_, place| sign(place)))
        .collect();
    let group = |output: usize, channel: usize| {
        let mut found = expected.clone();
        let plane = shapes[output][1] * shapes[output][1];
        found[output][channel * plane] += 0.5;
        let errors = errors(head, shapes, &expected, found).unwrap();
        let noisy: Vec<&OutputError> = errors.iter().filter(|error| error.max_abs > 0.0).collect();
        let [noisy] = noisy[..] else { panic!("{noisy:?}") };
        assert_eq!(noisy.output, format!("output{output}"));
        noisy.group
    };
    let of_output = |(output, &[channels, _]): (usize, &[usize; 2])| {
        (0..channels).map(|channel| group(output, channel)).collect()
    };
    shapes.iter().enumerate().map(of_output).collect()
}

#[test]
fn an_error_is_in_the_group_of_its_channel_alone() {
    let anchor = [Boxed, Boxed, Boxed, Boxed, Objectness, Class, Class];
    let head = anchored(vec![vec![[8.0, 8.0], [16.0, 16.0]], vec![[32.0, 32.0]]]);
    assert_eq!(group_of_each(&head, &[[14, 2], [7, 1]]), [[anchor; 2].concat(), anchor.to_vec()]);
    let head =
        Head { strides: vec![8], boxes: Boxes::Distances { reg_max: 3 }, ..anchored(vec![vec![[8.0, 8.0]]]) };
    assert_eq!(group_of_each(&head, &[[12, 2], [2, 2]]), [vec![Boxed; 12], vec![Class; 2]]);
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// What a whole-tensor figure hides: one scale for boxes, objectness and classes, too coarse for objectness.
#[test]
fn scores_that_are_dead_in_one_output_show_in_their_group_alone() {
    let head = anchored(vec![vec![[8.0, 8.0]], vec![[16.0, 16.0]]]);
    let healthy = |channel: usize, place: usize| match channel {
        0..4 => 3.0 * sign(place),
        4 => sign(place),
        _ => -6.0,
    };
    let expected = [values(7, 4, healthy), values(7, 1, healthy)];
    let rounded = |channel: usize, place: usize| healthy(channel, place) + 0.05;
    let dead = values(7, 4, |channel, place| if channel == 4 { 0.5 } else { rounded(channel, place) });
    let similarity = cosine(&expected[0], &dead);
    assert!(similarity > 0.99, "{similarity}");
    let errors = errors(&head, &[[7, 2], [7, 1]], &expected, vec![dead, values(7, 1, rounded)]).unwrap();
    assert_eq!(errors.len(), 6);
    for error in &errors {
        let is_dead = error.output == "output0" && error.group == Objectness;
        assert!(if is_dead { error.sqnr_db < 0.0 } else { error.sqnr_db > 20.0 }, "{error:?}");
    }
}

#[test]
fn an_output_that_is_no_number_is_named_with_its_image() {
    let head = anchored(vec![vec![[8.0, 8.0]]]);
    for value in [f32::NAN, f32::INFINITY] {
        let found = values(7, 1, |channel, _| if channel == 3 { value } else { 1.0 });
        let error = errors(&head, &[[7, 1]], &[vec![1.0; 7]], vec![found]).unwrap_err().to_string();
        assert!(error.contains("output0") && error.contains("0.png"), "{error}");
    }
}

/// Three convolutions with Relu and a raw output behind them.
fn small_model() -> FusedModel {
    let classes = vec!["a".to_owned()];
    let anchors_px = vec![vec![[10.0, 14.0], [23.0, 27.0], [37.0, 58.0]]];
    let template = Architecture::load("yolov5n", &Overrides::default(), &classes).unwrap();
    let head = Head::with_anchors(classes, vec![8], anchors_px);
    let conv = |cin: usize, cout: usize, kernel: usize, stride: usize| {
        Op::Conv(Conv { cin, cout, kernel, stride, pad: kernel / 2, dilation: 1, groups: 1, bias: true })
    };
    let mut graph = Graph::default();
    let mut last = graph.push("images", Op::Input { channels: 3 }, &[]);
    for (level, [cin, cout]) in [[3, 8], [8, 16], [16, 16]].into_iter().enumerate() {
        let sums = graph.push(format!("conv{level}"), conv(cin, cout, 3, 2), &[last]);
        last = graph.push(format!("act{level}"), Op::Act(Activation::Relu), &[sums]);
    }
    graph.outputs = vec![graph.push("raw", conv(16, 18, 1, 1), &[last])];
    let weights = weights(&graph);
    let architecture = Architecture { name: "small".into(), graph, head, ..template };
    FusedModel { architecture, weights, imgsz: SIDE_PX }
}

fn weights(graph: &Graph) -> Weights {
    let mut state = 1_u32;
    let mut next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut weights = Weights::default();
    for node in &graph.nodes {
        let Op::Conv(conv) = node.op else { continue };
        let shape = [conv.cout, conv.cin, conv.kernel, conv.kernel];
        let size = 1.0 / ((conv.cin * conv.kernel * conv.kernel) as f32).sqrt();
        let values = (0..shape.iter().product()).map(&mut next).map(|value| value * size).collect();
        weights.insert(format!("{}.weight", node.name), &shape, values);
        weights.insert(format!("{}.bias", node.name), &[conv.cout], (0..conv.cout).map(&mut next).collect());
    }
    weights
}

#[test]
fn nodes_read_in_many_runs_have_the_errors_they_have_in_one() {
    let (model, (_folder, images)) = (small_model(), images(3));
    let observed = observe(&model, &images).unwrap();
    let plan = Plan { method: Method::Mse, rules: Int8::default(), kept: BTreeMap::new() };
    let int8 = quantize(&model, &observed, &plan).unwrap();
    let whole = node_errors(&model, &int8, &images).unwrap();
    let names: Vec<&str> = whole.iter().map(|error| error.node.as_str()).collect();
    assert_eq!(names, ["conv0", "act0", "conv1", "act1", "conv2", "act2", "raw"]);
    let parts = node_errors_within(1, &model, &int8, &images).unwrap();
    assert_eq!(parts.len(), whole.len());
    for (a, b) in whole.iter().zip(&parts) {
        assert!(a.node == b.node && (a.sqnr_db - b.sqnr_db).abs() < 0.01, "{a:?} {b:?}");
        // Low for convolutions: what ReLU drops of them anyway is not stored.
        assert!((-1.0..100.0).contains(&a.sqnr_db), "{a:?}");
    }
}
