//! What the suites over fusing share: random weights of a graph, and two graphs run side by side in tract.

#![allow(dead_code, reason = "each suite uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod attention;
pub mod blocks;
pub mod calibration;
pub mod checkpoint;
pub mod copies;
pub mod onnxruntime;
pub mod played;
pub mod published;
pub mod tally;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifact::{DType, Layout, Tensor, TensorData, TensorSpec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use train_host::export::onnx;
use train_host::model::{Architecture, Graph, Overrides, Role, TrainedModel, WeightSpec, Weights};

/// Weights of every kind a training could reach: γ of both signs, variances from 0.1 to 10.
pub fn random_weights(graph: &Graph, seed: u64) -> Weights {
    weights_with_variances(graph, seed, -1.0..1.0)
}

/// Weights as [`random_weights`] draws them, with variances of 10 to a power out of `exponents`.
fn weights_with_variances(graph: &Graph, seed: u64, exponents: Range<f32>) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::default();
    for spec in graph.weight_specs() {
        let data = (0..spec.len()).map(|_| random_value(&spec, &exponents, &mut rng)).collect();
        weights.insert(&spec.name, &spec.shape, data);
    }
    weights
}

fn random_value(spec: &WeightSpec, exponents: &Range<f32>, rng: &mut impl Rng) -> f32 {
    match spec.role {
        Role::Kernel => {
            let fan_in = spec.shape[1..].iter().product::<usize>() as f32;
            rng.random_range(-1.0..1.0) * (3.0 / fan_in).sqrt()
        }
        Role::Gamma => rng.random_range(0.3..1.5) * if rng.random() { 1.0 } else { -1.0 },
        Role::RunningVar => 10.0_f32.powf(rng.random_range(exponents.clone())),
        Role::Bias | Role::Beta | Role::RunningMean => rng.random_range(-1.0..1.0),
    }
}

/// A named model with random weights.
pub fn random_model(name: &str, overrides: &Overrides, classes: usize, imgsz: usize) -> TrainedModel {
    let classes: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
    let architecture = Architecture::load(name, overrides, &classes).unwrap();
    let weights = random_weights(&architecture.graph, 7);
    TrainedModel { architecture, weights, imgsz }
}

/// Width at which a model is all structure and little arithmetic: 64 channels where YOLOv5 large has 1024.
const NARROW: &str = "0.0625";

/// Description of the named model with few channels; its graph is the model's own in all but channels.
pub fn narrow_description(name: &str, overrides: &Overrides, classes: &[String]) -> String {
    let whole = Architecture::load(name, overrides, classes).unwrap();
    let (before, width) = whole.description.split_once("width_multiple: ").unwrap();
    let (_, after) = width.split_once('\n').unwrap();
    let text = format!("{before}width_multiple: {NARROW}\n{after}");
    let narrow = Architecture::parse(name, &text, &Overrides::default(), classes).unwrap();
    let structure = |graph: &Graph| -> Vec<_> {
        graph.nodes.iter().map(|node| (node.name.clone(), node.inputs.clone())).collect()
    };
    assert_eq!(structure(&narrow.graph), structure(&whole.graph), "{name}");
    text
}

/// The named model with few channels and random weights. Their variances begin at a quarter: where every layer of a deep model
/// makes its input larger, it does so to the last bits of rounding too, and what is left of a bar is chance.
pub fn narrow_model(name: &str, overrides: &Overrides, classes: usize, imgsz: usize) -> TrainedModel {
    let classes: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
    let text = narrow_description(name, overrides, &classes);
    let architecture = Architecture::parse(name, &text, &Overrides::default(), &classes).unwrap();
    let weights = weights_with_variances(&architecture.graph, 7, -0.6..1.0);
    TrainedModel { architecture, weights, imgsz }
}

/// Input and outputs of a bare graph.
pub fn specs(graph: &Graph, side_px: usize) -> (TensorSpec, Vec<TensorSpec>) {
    let shapes = graph.shapes(side_px, side_px).unwrap();
    let spec = |name: &str, id: usize| {
        let [channels, height, width] = shapes[id];
        let shape = [1, channels, height, width];
        TensorSpec { name: name.to_owned(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
    };
    let outputs = graph.outputs.iter().map(|&id| spec(&graph.nodes[id].name, id)).collect();
    (spec(onnx::INPUT_NAME, 0), outputs)
}

/// Outputs of a bare graph in tract for noise drawn from `seed`.
pub fn run_graph(graph: &Graph, weights: &Weights, side_px: usize, seed: u64) -> Vec<Vec<f32>> {
    let (input, outputs) = specs(graph, side_px);
    let bytes = onnx::write_graph(graph, weights, side_px).unwrap();
    run(&mut TractSession::from_onnx(&bytes, input, outputs).unwrap(), seed)
}

/// `count` values of 0..1 drawn from `seed`.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random()).collect()
}

/// Outputs of a session for noise drawn from `seed`.
pub fn run(session: &mut impl Session, seed: u64) -> Vec<Vec<f32>> {
    run_with_image(session, seed).1
}

/// Noise drawn from `seed`, and the outputs of a session for it.
pub fn run_with_image(session: &mut impl Session, seed: u64) -> (Vec<f32>, Vec<Vec<f32>>) {
    let spec = session.input().clone();
    let noise = noise(spec.len(), seed);
    let image = Tensor { data: TensorData::F32(noise.clone()), ..Tensor::zeroed(&spec) };
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&image, &mut outputs).unwrap();
    let floats = |output: Tensor| match output.data {
        TensorData::F32(values) => values,
        other => panic!("{other:?}"),
    };
    (noise, outputs.into_iter().map(floats).collect())
}

/// `max|a − b| / max|a|`.
pub fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    let difference = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    let range = a.iter().map(|a| f64::from(*a).abs()).fold(0.0, f64::max);
    assert!(range > 0.0, "a silent output proves nothing");
    difference / range
}

/// Runs a script of `tests/python` in the interpreter that `cargo xtask test` has set up; it has to succeed.
pub fn python(script: &str, arguments: impl IntoIterator<Item = PathBuf>) {
    let result = python_command(script).args(arguments).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

/// A script of `tests/python` in the interpreter that `cargo xtask test` names, or has set up.
pub fn python_command(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = std::env::var_os("REPEDGE_PYTHON")
        .map_or_else(|| root.join("toolchains/venv/bin/python"), PathBuf::from);
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("tests/python").join(script));
    command
}
