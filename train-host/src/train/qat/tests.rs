//! A small model of every operator, calibrated on waves: forward against the integer reference, backward against finite
//! differences, and whether training learns.

mod not_finite;
mod spread;

use std::collections::BTreeMap;
use std::path::PathBuf;

use artifact::{Layout, Quant, TensorData};
use boards::{Between, Int8, Outputs, Scales};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use repedge::frame::{Image, write_png};
use tempfile::TempDir;

use super::*;
use crate::fuse::fuse;
use crate::model::{Activation, Architecture, Overrides, Role, TrainedModel, Weights};
use crate::quantize::{Images, Method, Plan, observe, quantize, run_integer};

const SIDE: usize = 32;
const SHARED: Int8 = Int8 {
    concat: Scales::Shared,
    add: Scales::Shared,
    activation: Between::Stored,
    outputs: Outputs::Stored,
};
const DESCRIPTION: &str = "
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
act: silu
anchors:
  - [4, 5, 8, 9]
  - [12, 13, 20, 24]
backbone:
  - [-1, 1, Conv, [32, 6, 2, 2]]
  - [-1, 1, RepConv, [32, 3, 2]]
  - [-1, 1, C3, [32]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, SPPF, [64, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, Conv, [32, 3, 1]]
  - [[7, 4], 1, Detect, [nc, anchors]]
";

/// A fused model, images, and the model quantized.
struct Case {
    float: FusedModel,
    int8: QuantizedModel,
    images: Vec<PathBuf>,
    folder: TempDir,
}

fn case(act: Activation, rules: Int8) -> Case {
    case_of(act, rules, |float, _| float)
}

/// As [`case`], of what `change` makes of the float model, which may look at the images.
fn case_of(act: Activation, rules: Int8, change: impl FnOnce(FusedModel, &Images) -> FusedModel) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<PathBuf> = (0..6).map(|index| wave(&folder, index)).collect();
    let shown = Images::new(images.clone(), Progress::Hidden).unwrap();
    let float = change(fused(act), &shown);
    let plan = Plan { method: Method::MinMax, rules, kept: BTreeMap::new() };
    let int8 = quantize(&float, &observe(&float, &shown).unwrap(), &plan).unwrap();
    Case { float, int8, images, folder }
}

fn fused(act: Activation) -> FusedModel {
    let overrides = Overrides { act: Some(act), block: None };
    let architecture =
        Architecture::parse("small", DESCRIPTION, &overrides, &["a".into(), "b".into()]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut weights = Weights::default();
    for spec in architecture.graph.weight_specs() {
        let fan_in = spec.shape[1..].iter().product::<usize>() as f32;
        let mut draw = || match spec.role {
            Role::Kernel => rng.random_range(-1.0..1.0) * (3.0 / fan_in).sqrt(),
            Role::Gamma | Role::RunningVar => rng.random_range(0.5..1.5),
            Role::Bias | Role::Beta | Role::RunningMean => rng.random_range(-0.5..0.5),
        };
        let values = (0..spec.len()).map(|_| draw()).collect();
        weights.insert(&spec.name, &spec.shape, values);
    }
    fuse(&TrainedModel { architecture, weights, imgsz: SIDE }).unwrap()
}

fn wave(folder: &TempDir, index: u8) -> PathBuf {
    let pixel = |at: usize| {
        let (x, y, channel) = (at / 3 % SIDE, at / 3 / SIDE, at % 3);
        let phase = (x as f32 * 0.3 * f32::from(index + 1) + y as f32 * 0.7 + channel as f32).sin();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let pixel = (127.5 + 120.0 * phase) as u8;
        pixel
    };
    let image = Image { width_px: SIDE, height_px: SIDE, rgb: (0..SIDE * SIDE * 3).map(pixel).collect() };
    let path = folder.path().join(format!("{index}.png"));
    write_png(&path, &image).unwrap();
    path
}

/// An image of whole pixels for both sides.
fn picture() -> (artifact::Tensor, Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let values: Vec<f32> = (0..3 * SIDE * SIDE).map(|_| f32::from(rng.random::<u8>()) / 255.0).collect();
    let torch = Tensor::from_slice(&values).view([1, 3, to_i64(SIDE), to_i64(SIDE)]);
    let shape = [1, 3, SIDE, SIDE];
    (artifact::Tensor { shape, layout: Layout::Nchw, quant: None, data: TensorData::F32(values) }, torch)
}

/// How many of the values `found` of `tensor` are not what `codes` stand for; none is by more than two codes.
fn wrong_codes(tensor: &str, found: &Tensor, codes: &[i8], quant: Quant) -> usize {
    let steps = super::super::net::to_vec(&(found / f64::from(quant.scale))).unwrap();
    assert_eq!(steps.len(), codes.len());
    let is_wrong = |(steps, &code): (&f32, &i8)| {
        let difference = (steps.round() - (i32::from(code) - quant.zero_point) as f32).abs();
        assert!(difference <= 2.0, "{tensor}: off by {difference} codes");
        difference > 0.0
    };
    steps.iter().zip(codes).filter(|pair| is_wrong(*pair)).count()
}

#[test]
fn forward_gives_what_the_integer_reference_stores() {
    let own =
        Int8 { concat: Scales::Own, add: Scales::Own, activation: Between::Fused, outputs: Outputs::Real };
    for act in [Activation::Silu, Activation::Relu, Activation::LeakyRelu, Activation::Mish] {
        for rules in [own, SHARED] {
            let Case { int8, .. } = case(act, rules);
            let (image, torch) = picture();
            let expected = run_integer(&int8, &image).unwrap();
            let nodes: Vec<NodeId> = (0..expected.len()).filter(|&id| expected[id].is_some()).collect();
            let net = FakeNet::new(&int8, &nodes, Device::Cpu).unwrap();
            let found = net.forward(&torch).unwrap();
            // What LeakyRelu makes of a sum often lies right between two codes: the last bit of a float decides. Later layers
            // add such differences up, so that only the first are compared.
            let (bound, compared) = if act == Activation::LeakyRelu { (4, 4) } else { (50, nodes.len()) };
            for (&id, found) in nodes.iter().zip(&found).take(compared) {
                let Some(planes) = &expected[id] else { continue };
                let tensor = format!("{act:?}, node {id}");
                let wrong = wrong_codes(&tensor, found, &planes.data, planes.quant);
                assert!(
                    wrong * bound <= planes.data.len(),
                    "{tensor}: {wrong} of {} codes",
                    planes.data.len()
                );
            }
        }
    }
}

#[test]
fn what_was_not_trained_comes_back_as_it_was() {
    let Case { int8, .. } = case(Activation::Silu, Int8::default());
    let net = FakeNet::new(&int8, &int8.architecture.graph.outputs, Device::Cpu).unwrap();
    assert_eq!(net.quantized(&int8).unwrap(), int8);
}

/// Loss of a student whose steps are 1024 times finer than int8's, so that it is smooth.
struct Smooth {
    student: FakeNet,
    images: Tensor,
    wanted: Vec<Tensor>,
    head: crate::model::Head,
}

impl Smooth {
    fn new() -> Self {
        let Case { float, mut int8, .. } = case(Activation::Silu, Int8::default());
        // Tight enough to cut values off, which is all that moves a scale where nothing is rounded.
        int8.scheme.tensors.iter_mut().skip(1).flatten().for_each(|quant| quant.scale *= 0.5);
        let nodes = compared(&float.architecture.graph);
        let graph = Graph { outputs: nodes.clone(), ..float.architecture.graph.clone() };
        let (_, images) = picture();
        let wanted = Net::on_cpu(&graph, &float.weights).unwrap().forward(&images, Mode::Eval).unwrap();
        let mut student = FakeNet::with_fineness(&int8, &nodes, Device::Cpu, 1024).unwrap();
        // Off the ends of the weights' range, where a slope has two sides.
        tch::no_grad(|| student.learned().for_each(|learned| drop(learned.tensor.g_mul_scalar_(0.97))));
        Self { student, images, wanted, head: float.architecture.head }
    }

    fn loss(&self) -> Tensor {
        let found = self.student.forward(&self.images).unwrap();
        // The other part takes the student's scores for given.
        let [_, channels] = Distillation::new(&self.head).loss(&self.wanted, &found).unwrap();
        channels
    }

    /// The loss with tensor `at` moved along `direction`.
    fn moved(&mut self, at: usize, direction: &Tensor, by: f64) -> f64 {
        let shift = |smooth: &mut Self, by: f64| {
            let learned = smooth.student.learned().nth(at).unwrap();
            tch::no_grad(|| drop(learned.tensor.g_add_(&(direction * by))));
        };
        shift(self, by);
        let loss = f64::try_from(self.loss()).unwrap();
        shift(self, -by);
        loss
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut smooth = Smooth::new();
    smooth.loss().backward();
    let gradients: Vec<Tensor> =
        smooth.student.learned().map(|learned| learned.tensor.grad().copy()).collect();
    assert!(gradients.len() > 30, "weights, biases and scales: {}", gradients.len());
    let loss = f64::try_from(smooth.loss()).unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for (at, gradient) in gradients.iter().enumerate() {
        // Along the gradient itself: the slope is its length.
        let length = f64::try_from(gradient.norm()).unwrap();
        let size = f64::try_from(smooth.student.learned().nth(at).unwrap().tensor.norm()).unwrap();
        // What moves the loss by less drowns in the rounding of its floats.
        if length * size < 1e-2 * loss {
            continue;
        }
        let direction = gradient / length;
        let by = 0.003 * size;
        let slope = (smooth.moved(at, &direction, by) - smooth.moved(at, &direction, -by)) / (2.0 * by);
        if (slope / length - 1.0).abs() > 0.1 {
            wrong.push(format!("tensor {at}: {slope} along a gradient of {length}"));
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked * 2 > gradients.len(), "{checked} of {} tensors matter", gradients.len());
}

/// A quantized model that is worse than it has to be.
fn spoiled(mut int8: QuantizedModel) -> QuantizedModel {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for kernel in int8.scheme.kernels.values_mut() {
        for value in &mut kernel.values {
            *value = value.saturating_add(rng.random_range(-6..=6)).max(-127);
        }
    }
    int8
}

fn settings(epochs: usize, seed: u64) -> Settings {
    Settings { epochs, batch: 3, rate: 0.2, seed, ..Settings::default() }
}

#[test]
fn training_learns_and_is_the_same_each_time() {
    let Case { float, int8, images, folder } = case(Activation::Silu, Int8::default());
    let start = spoiled(int8);
    let train = |epochs: usize, seed: u64| {
        let qat = Qat::new(settings(epochs, seed), &images, Progress::Hidden).unwrap();
        qat.train(&float, &start).unwrap().model
    };
    let (_, picture) = picture();
    let loss = |model: &QuantizedModel| {
        let mut course =
            Course::new(&Qat::new(settings(1, 0), &images, Progress::Hidden).unwrap(), &float, model)
                .unwrap();
        let wanted = course.teacher.forward(&picture, Mode::Eval).unwrap();
        let found = course.student.forward(&picture).unwrap();
        assert!(course.student.learned().count() > 30);
        let [seen, channels] = course.loss.loss(&wanted, &found).unwrap();
        f64::try_from(seen + channels).unwrap()
    };
    let trained = train(30, 0);
    let (before, after) = (loss(&start), loss(&trained));
    assert!(after < 0.5 * before, "{before} before, {after} after");
    assert_eq!(train(3, 1), train(3, 1));
    assert_ne!(train(3, 1), train(3, 2));
    drop(folder);
}

#[test]
fn settings_that_cannot_be_trained_with_are_refused() {
    let Case { float, int8, images, folder } = case(Activation::Relu, Int8::default());
    let error = |settings: Settings, images: &[PathBuf]| {
        Qat::new(settings, images, Progress::Hidden).unwrap_err().to_string()
    };
    assert!(error(settings(0, 0), &images).contains("--qat 0"));
    assert!(error(settings(1, 0), &[]).contains("no image to train on"));
    assert!(error(Settings { device: "gpu".into(), ..settings(1, 0) }, &images).contains("gpu"));
    let mut other = float;
    other.architecture.graph.nodes.pop();
    let qat = Qat::new(settings(1, 0), &images, Progress::Hidden).unwrap();
    assert!(qat.train(&other, &int8).unwrap_err().to_string().contains("different graphs"));
    drop(folder);
}
