//! Rockchip's compiler and simulator, driven as a child process. The talk is tested with workers that the test plays;
//! the toolkit itself only where it is set up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::{Preprocess, Quant, Tensor, TensorData};
use boards::Board;
use repedge::backend::Session;
use support::attention::attention_model;
use support::calibration::{calibrated, images, pixels};
use support::played::python;
use train_host::evaluate::Progress;
use train_host::export::bundle::{Deployed, Fallback, Release};
use train_host::export::{self, onnx, qdq};
use train_host::fuse::fuse;
use train_host::model::{Activation, FusedModel, Overrides};
use train_host::quantize::{Method, Plan, QuantizedModel, observe, quantize, run_integer};
use train_host::rknn::{
    Algorithm, Delivery, Job, NpuModel, Quantizer, Toolkit, compile, computable, declared, deliver, simulate,
};

const SIDE_PX: usize = 64;
/// Longer than any step takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(600);

/// A toolkit whose worker does what `script`, in Python, says.
fn played(folder: &Path, script: &str) -> Toolkit {
    Toolkit::at(python(folder, &format!("exec python3 -c '{script}'"))).unwrap()
}

fn job(onnx: &[u8]) -> Job<'_> {
    Job {
        onnx,
        platform: "rk3588",
        quantizer: Quantizer::Model,
        preprocess: Preprocess::yolo(SIDE_PX, SIDE_PX),
        outputs: &[],
        limit: PATIENT,
    }
}

fn refused(script: &str, limit: Duration) -> String {
    let dir = tempfile::tempdir().unwrap();
    let toolkit = played(dir.path(), script);
    let job = Job { limit, ..job(b"model") };
    compile(&toolkit, &job, Progress::Hidden).unwrap_err().to_string()
}

#[test]
fn a_failure_shows_what_the_toolkit_printed() {
    let script = r#"
import json, sys
sys.stdin.readline()
print("E build: unsupported operator Frobnicate", file=sys.stderr)
print(json.dumps({"event": "stage", "name": "compiling"}))
print(json.dumps({"event": "failed", "message": "build returned -1"}))
"#;
    let error = refused(script, PATIENT);
    assert!(error.contains("build returned -1") && error.contains("Frobnicate"), "{error}");
}

#[test]
fn a_worker_that_breaks_off_is_an_error() {
    let error = refused("import sys; sys.stdin.readline(); sys.exit(3)", PATIENT);
    assert!(error.contains("ended without an answer (exit status: 3)"), "{error}");
    let error = refused("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", PATIENT);
    assert!(error.contains("signal: 11") && error.contains("another --quantizer or --precision"), "{error}");
    let error = refused("print(\"W a warning on the wrong stream\")", PATIENT);
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn a_worker_that_says_nothing_is_killed() {
    // It would sleep for a day: that the test ends shows that it was not waited for.
    let error = refused("import time; time.sleep(86400)", Duration::from_millis(300));
    assert!(error.contains("no answer within"), "{error}");
}

/// The record swears to the packages of the toolkit's environment; others must not take their place.
#[test]
fn variables_of_the_environment_give_python_no_other_packages() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("numpy.py"), "raise RuntimeError('shadowed')").unwrap();
    let shell = format!("export PYTHONPATH={}\nexec python3 \"$@\"", dir.path().display());
    let toolkit = Toolkit::at(python(dir.path(), &shell)).unwrap();
    let error = compile(&toolkit, &job(b"model"), Progress::Hidden).unwrap_err().to_string();
    // It went on to look for the real ones.
    assert!(error.contains("ModuleNotFoundError") && !error.contains("shadowed"), "{error}");
}

#[test]
fn what_the_toolkit_wrote_is_checked() {
    let script = r#"
import json, sys
request = json.loads(sys.stdin.readline())
open(request["out"], "wb").write(b"not a model")
print(json.dumps({"event": "built", "toolkit": "2.5.0", "scales": {}}))
"#;
    let error = refused(script, PATIENT);
    assert!(error.to_lowercase().contains("rknn"), "{error}");
}

#[test]
fn calibration_without_images_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let toolkit = played(dir.path(), "");
    let quantizer = Quantizer::Toolkit { algorithm: Algorithm::Normal, images: &[] };
    let error =
        compile(&toolkit, &Job { quantizer, ..job(b"model") }, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("no images to calibrate on"), "{error}");
}

/// yolov5n at a small size, fused, and its ONNX.
fn real_model() -> (FusedModel, Vec<u8>) {
    let model = fuse(&support::random_model("yolov5n", &Overrides::default(), 2, SIDE_PX)).unwrap();
    let onnx = onnx::write(&model).unwrap();
    (model, onnx)
}

fn run(session: &mut dyn Session, input: &Tensor) -> Vec<Tensor> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(input, &mut outputs).unwrap();
    outputs
}

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn the_simulator_agrees_with_tract_on_a_float_model() {
    assert_agrees_in_floats(&real_model().0);
}

/// Compiles a float model to half floats, and compares what the simulator computes with what tract does.
fn assert_agrees_in_floats(model: &FusedModel) {
    let toolkit = Toolkit::find().unwrap();
    let onnx = onnx::write(model).unwrap();
    let specs = onnx::model_specs(&model.architecture, SIDE_PX).unwrap();
    let job = Job { outputs: &specs.outputs, ..job(&onnx) };
    let (compiled, mut simulator) = simulate(&toolkit, &job, Progress::Hidden).unwrap();
    assert!(compiled.info.platforms.contains(&"rk3588".to_owned()));
    assert_eq!(compiled.info.toolkit.to_string(), "2.5.0");

    let planes = pixels(SIDE_PX, 5);
    let found = run(&mut simulator, &bytes_of(&planes));
    let expected = run(&mut export::session(model).unwrap(), &planes);
    for (found, expected) in found.iter().zip(&expected) {
        let (TensorData::F32(found), TensorData::F32(expected)) = (&found.data, &expected.data) else {
            panic!("floats")
        };
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            // Half floats have eleven bits; errors of sixty layers add up.
            assert!((found - expected).abs() < 0.02 * largest, "{found} and {expected}");
        }
    }
}

/// How far the simulator's codes may be from tract's behind attention: anywhere, and on average. What it computes in half
/// floats lies between two codes elsewhere than in floats.
const ATTENDED: (u32, f64) = (8, 1.0);

/// A model with attention in our int8.
fn quantized_attention() -> QuantizedModel {
    let model = attention_model(SIDE_PX);
    let folder = tempfile::tempdir().unwrap();
    let observed = observe(&model, &images(folder.path(), SIDE_PX)).unwrap();
    let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept: BTreeMap::new() };
    computable(&quantize(&model, &observed, &plan).unwrap())
}

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn attention_is_compiled_and_simulated() {
    let toolkit = Toolkit::find().unwrap();
    assert_agrees_in_floats(&attention_model(SIDE_PX));

    let model = quantized_attention();
    let (onnx, specs) = (qdq::write(&declared(&model)).unwrap(), qdq::device_specs(&model).unwrap());
    let job = Job { outputs: &specs.outputs, ..job(&onnx) };
    let (compiled, mut simulator) = simulate(&toolkit, &job, Progress::Hidden).unwrap();
    assert!(compiled.half_tensors.iter().any(|name| name.contains("attn")), "{:?}", compiled.half_tensors);
    assert!(
        !compiled.half_tensors.iter().any(|name| name.starts_with("stem")),
        "{:?}",
        compiled.half_tensors
    );

    let image = pixels(SIDE_PX, 5);
    let found = run(&mut simulator, &bytes_of(&image)).swap_remove(0);
    let expected = run(&mut export::quantized_session(&model).unwrap(), &image).swap_remove(0);
    let (TensorData::I8(found), TensorData::I8(expected)) = (found.data, expected.data) else {
        panic!("int8")
    };
    let steps: Vec<u32> =
        found.iter().zip(&expected).map(|(&a, &b)| i32::from(a).abs_diff(i32::from(b))).collect();
    let (most, sum) = (steps.iter().max().unwrap(), steps.iter().sum::<u32>());
    let mean = f64::from(sum) / steps.len() as f64;
    eprintln!("attention: {most} steps apart at most, {mean:.4} on average");
    assert!(*most <= ATTENDED.0 && mean <= ATTENDED.1, "{most} at most, {mean} on average");
}

/// A chip that computes in int8 alone.
const WITHOUT_FLOATS: &str = "rv1106";

#[test]
fn our_attention_is_refused_where_there_are_no_floats_and_the_way_that_works_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (quantized_attention(), folder.path().join("x.bundle"));
    let delivery = Delivery {
        board: &Board::find(WITHOUT_FLOATS).unwrap(),
        npu: NpuModel::Quantized(&model),
        fallback: Fallback::None(Deployed::Quantized(&model)),
        images: &[],
        release: Release::default(),
        out: &out,
        limit: PATIENT,
        progress: Progress::Hidden,
    };
    let error = deliver(&played(folder.path(), ""), &delivery).unwrap_err().to_string();
    assert!(error.contains("attn") && error.contains("--quantizer toolkit"), "{error}");
    assert!(!out.exists());
}

/// What the error above recommends.
#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn the_toolkit_quantizes_attention_where_there_are_no_floats() {
    let toolkit = Toolkit::find().unwrap();
    let model = attention_model(SIDE_PX);
    let onnx = onnx::write(&model).unwrap();
    let specs = onnx::model_specs(&model.architecture, SIDE_PX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let images = pictures(folder.path());
    let quantizer = Quantizer::Toolkit { algorithm: Algorithm::Normal, images: &images };
    let job = Job { platform: WITHOUT_FLOATS, quantizer, outputs: &specs.outputs, ..job(&onnx) };
    let compiled = compile(&toolkit, &job, Progress::Hidden).unwrap();
    assert_eq!(compiled.half_tensors, [""; 0]);
    assert!(compiled.outputs.iter().all(|output| output.quant.is_some()));
}

/// A tensor, the part of its codes that may differ from our integer reference, and by how much they may.
///
/// The simulator sums in f32, and we in integers; it computes activations, and we look them up from sixteenths of a step,
/// with which every sixtieth code that lies between two is the other one. Each such code moves a few of the next layer's,
/// in models of random weights more than in any other. Relu has no such codes.
type Bar = (&'static str, f64, u32);

const RELU: [Bar; 4] = [
    ("model.0.act", 0.0, 0),
    ("model.2.m.0.add", 1e-3, 1),
    ("model.2.concat", 1e-3, 1),
    ("model.4.cv3.act", 1e-3, 1),
];
const OUTPUT: Bar = ("model.24.m.0", 1e-3, 1);
const CURVED: [Bar; 2] = [("model.0.act", 0.02, 1), ("model.2.concat", 0.15, 6)];

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn the_simulator_computes_our_int8() {
    let toolkit = Toolkit::find().unwrap();
    for (act, bars) in
        [(Activation::Relu, &RELU[..]), (Activation::LeakyRelu, &CURVED), (Activation::Silu, &CURVED)]
    {
        let calibrated = calibrated("repyolov5n", act, SIDE_PX);
        let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept: BTreeMap::new() };
        let model = computable(&quantize(&calibrated.model, &calibrated.observed, &plan).unwrap());
        assert_computed(&toolkit, &model, &format!("{act:?}"), bars);
    }
}

/// A zero point of 0 is rare, and the toolkit takes it for a sign of something else.
#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn the_simulator_computes_our_int8_where_zero_points_are_zero() {
    assert_computed(
        &Toolkit::find().unwrap(),
        &partly_centered(),
        "zero points of 0",
        &[&RELU[..], &[OUTPUT]].concat(),
    );
}

#[test]
fn scales_are_declared_finer_where_the_zero_point_is_zero_and_nowhere_else() {
    let mut model = partly_centered();
    let output = model.architecture.graph.outputs[0];
    let scale_of = |model: &QuantizedModel| model.scheme.tensors[output].unwrap().scale;
    let told = declared(&model);
    assert!((scale_of(&told) * 128.0 / 127.0 / scale_of(&model) - 1.0).abs() < 1e-6);
    model.scheme.tensors[output].as_mut().unwrap().zero_point = 1;
    assert_eq!(declared(&model).scheme.tensors[output], model.scheme.tensors[output]);
}

/// A model of ReLUs in which a sum and the outputs have the zero point 0.
fn partly_centered() -> QuantizedModel {
    let calibrated = calibrated("repyolov5n", Activation::Relu, SIDE_PX);
    let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept: BTreeMap::new() };
    let mut model = computable(&quantize(&calibrated.model, &calibrated.observed, &plan).unwrap());
    let graph = &model.architecture.graph;
    for (id, quant) in model.scheme.tensors.iter_mut().enumerate() {
        if graph.outputs.contains(&id) || graph.nodes[id].name == RELU[1].0 {
            *quant = quant.map(centered);
        }
    }
    model
}

/// A range of zero point 0 that holds that of `quant`.
fn centered(quant: Quant) -> Quant {
    let ends = [-128, 127].map(|end: i32| (end - quant.zero_point).abs());
    Quant { scale: quant.scale * ends[0].max(ends[1]) as f32 / 127.0, zero_point: 0 }
}

/// Compares each tensor of `bars` as the simulator computes it with our integer reference.
fn assert_computed(toolkit: &Toolkit, model: &QuantizedModel, what: &str, bars: &[Bar]) {
    let image = pixels(SIDE_PX, 5);
    let reference = run_integer(model, &image).unwrap();
    for &(name, part, farthest) in bars {
        let id = model.architecture.graph.nodes.iter().position(|node| node.name == name).unwrap();
        let mut cut = model.clone();
        cut.architecture.graph.outputs = vec![id];
        let (onnx, _) = qdq::write_stored(&declared(&cut)).unwrap();
        let (_, specs) = qdq::write_stored(&cut).unwrap();
        let job = Job { outputs: &specs.outputs, ..job(&onnx) };
        let (compiled, mut simulator) = simulate(toolkit, &job, Progress::Hidden).unwrap();
        assert_eq!(compiled.half_tensors, [""; 0], "{what}");

        let found = run(&mut simulator, &bytes_of(&image)).swap_remove(0);
        let TensorData::I8(found) = found.data else { panic!("int8") };
        let expected = &reference[id].as_ref().unwrap().data;
        let steps = found.iter().zip(expected).map(|(&a, &b)| i32::from(a).abs_diff(i32::from(b)));
        let different = steps.clone().filter(|&step| step > 0).count() as f64 / found.len() as f64;
        let most = steps.max().unwrap();
        eprintln!("{what}, {name}: {different:.6} of the codes differ, by {most} at most");
        assert!(different <= part && most <= farthest, "{what}, {name}: {different}, {most}");
        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
        assert!(distinct.len() > 90, "{} different codes: silence proves nothing", distinct.len());
    }
}

fn rk3588() -> Board {
    Board::find("rk3588").unwrap()
}

/// The pixels of a float image, each a whole number of 255ths, as the device has them.
fn bytes_of(image: &Tensor) -> Tensor {
    let TensorData::F32(planes) = &image.data else { panic!("floats") };
    let mut bytes = vec![0; planes.len()];
    for (at, byte) in bytes.iter_mut().enumerate() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number up to 255"
        )]
        let value = (planes[at % 3 * SIDE_PX * SIDE_PX + at / 3] * 255.0).round() as u8;
        *byte = value;
    }
    let shape = [1, SIDE_PX, SIDE_PX, 3];
    Tensor { shape, layout: artifact::Layout::Nhwc, quant: None, data: TensorData::U8(bytes) }
}

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn what_stays_in_floats_is_compiled_to_half_floats_and_named() {
    let toolkit = Toolkit::find().unwrap();
    let calibrated = calibrated("yolov5n", Activation::Silu, SIDE_PX);
    let kept = [("model.3.conv".to_owned(), "to see".to_owned())].into();
    let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept };
    let model = computable(&quantize(&calibrated.model, &calibrated.observed, &plan).unwrap());
    let (onnx, specs) = (qdq::write(&declared(&model)).unwrap(), qdq::device_specs(&model).unwrap());
    let compiled =
        compile(&toolkit, &Job { outputs: &specs.outputs, ..job(&onnx) }, Progress::Hidden).unwrap();
    assert!(
        compiled.half_tensors.iter().any(|name| name.starts_with("model.3.conv")),
        "{:?}",
        compiled.half_tensors
    );
    assert!(compiled.half_tensors.len() < 10, "{:?}", compiled.half_tensors);
}

/// Two pictures to calibrate on.
fn pictures(folder: &Path) -> [PathBuf; 2] {
    [60, 200].map(|value: u8| {
        let path = folder.join(format!("{value}.png"));
        let image = repedge::frame::Image::filled(80, 60, [value, 255 - value, 9]);
        repedge::frame::write_png(&path, &image).unwrap();
        path
    })
}

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn every_chip_gets_a_quantized_model() {
    let toolkit = Toolkit::find().unwrap();
    let (model, onnx) = real_model();
    let specs = onnx::model_specs(&model.architecture, SIDE_PX).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let images = pictures(dir.path());
    let calibrated = calibrated("yolov5n", Activation::Silu, SIDE_PX);
    let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept: BTreeMap::new() };
    let ours = computable(&quantize(&calibrated.model, &calibrated.observed, &plan).unwrap());
    let (ours_onnx, ours_specs) = (qdq::write(&declared(&ours)).unwrap(), qdq::device_specs(&ours).unwrap());
    let boards: Vec<Board> = boards::names().map(|name| Board::find(name).unwrap()).collect();
    let chips: Vec<&str> = boards.iter().filter_map(|board| Some(&*board.npu.as_ref()?.chip)).collect();
    assert!(chips.len() >= 6, "{chips:?}");
    for platform in chips {
        let quantizer = Quantizer::Toolkit { algorithm: Algorithm::Normal, images: &images };
        for job in [
            Job { platform, quantizer, outputs: &specs.outputs, ..job(&onnx) },
            Job { platform, outputs: &ours_specs.outputs, ..job(&ours_onnx) },
        ] {
            let compiled = compile(&toolkit, &job, Progress::Hidden).unwrap();
            compiled.info.check_chip(platform).unwrap();
            assert_eq!(compiled.info.outputs[0].dtype.as_deref(), Some("int8"), "{platform}");
            assert!(compiled.outputs.iter().all(|output| output.quant.is_some()), "{platform}");
            assert_eq!(compiled.half_tensors, [""; 0], "{platform}");
        }
    }
}

/// Models that differ in what follows what.
const STRUCTURES: [&str; 8] = [
    "yolov5n",
    "repyolov5n",
    "repyolov5s-lite",
    "yolov5s-repvgg-a1",
    "v5lite-g",
    "yolov3-spp",
    "repyolov3-spp",
    "yolov4",
];

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn"]
fn models_of_every_structure_are_compiled_to_int8_throughout() {
    let toolkit = Toolkit::find().unwrap();
    for name in STRUCTURES {
        let model = fuse(&support::narrow_model(name, &Overrides::default(), 2, SIDE_PX)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let observed = observe(&model, &images(folder.path(), SIDE_PX)).unwrap();
        let plan = Plan { method: Method::Mse, rules: rk3588().int8, kept: BTreeMap::new() };
        let model = computable(&quantize(&model, &observed, &plan).unwrap());
        let (onnx, specs) = (qdq::write(&declared(&model)).unwrap(), qdq::device_specs(&model).unwrap());
        let job = Job { outputs: &specs.outputs, ..job(&onnx) };
        let compiled = compile(&toolkit, &job, Progress::Hidden).unwrap();
        assert_eq!(compiled.half_tensors, [""; 0], "{name}");
    }
}
