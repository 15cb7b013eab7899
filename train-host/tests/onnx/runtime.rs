//! ONNX models of other tools, imported: raw outputs against onnxruntime's at the tensors where the head was cut, and the
//! device's decoding against the boxes that the models compute themselves.

use std::path::{Path, PathBuf};

use artifact::{Preprocess, Tensor, TensorData};
use repedge::backend::Session;
use repedge::decode::Decoder;
use repedge::preprocess::LetterboxMap;
use serde_json::Value;
use train_host::export::{self, onnx};
use train_host::fuse::fuse;
use train_host::import::{self, Options};
use train_host::model::{Activation, Block, Boxes, Checkpoint, FusedModel, Head, Op, Overrides};

use crate::boxes::{Listing, Own};
use crate::support::{self, narrow_model, python, random_model, relative_error};

const IMGSZ: usize = 64;
/// Largest difference of a raw output, by channel group, as a fraction of the group's range.
const MAX_RAW_ERROR: f64 = 1e-4;

/// What onnxruntime computed for a model.
struct Case {
    path: PathBuf,
    record: Value,
}

impl Case {
    fn floats(&self, what: &str) -> Vec<f32> {
        let bytes = std::fs::read(self.path.with_extension(format!("{what}.f32"))).unwrap();
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn shape(&self, what: &str) -> Option<Vec<usize>> {
        serde_json::from_value(self.record["shapes"][what].clone()).ok()
    }

    fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }
}

fn cases(dir: &Path) -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.with_extension("json").is_file() && path.extension().unwrap() == "onnx");
    paths.sort();
    let record =
        |path: &Path| serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
    paths.into_iter().map(|path| Case { record: record(&path), path }).collect()
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn detectors_of_other_tools_compute_the_same_after_the_import() {
    let dir = tempfile::tempdir().unwrap();
    let models = [
        ("yolov5n", Block::Repvgg, Activation::Silu),
        ("repyolov5n", Block::Repvgg, Activation::Relu),
        ("repyolov5s-lite", Block::Qarepvgg, Activation::LeakyRelu),
    ];
    let mut arguments = vec![dir.path().join("made")];
    std::fs::create_dir(&arguments[0]).unwrap();
    for (name, block, act) in models {
        let trained = random_model(name, &Overrides { act: Some(act), block: Some(block) }, 3, IMGSZ);
        arguments.push(dir.path().join(format!("{name}.onnx")));
        std::fs::write(arguments.last().unwrap(), onnx::write_diagnostic(&trained).unwrap()).unwrap();
    }
    let made = arguments[0].clone();
    python("make_detectors.py", arguments);
    let cases = cases(&made);
    assert_eq!(cases.len(), 3 * models.len() + 9);
    for case in &cases {
        let open = case.name().ends_with("-open");
        let options = Options { imgsz: open.then_some(IMGSZ), ..Options::default() };
        let Checkpoint::Fused(model) = import::open_with(&case.path, &options).unwrap().checkpoint else {
            panic!("{} is not fused", case.name())
        };
        check(case, &model);
    }
}

fn check(case: &Case, model: &FusedModel) {
    let name = case.name();
    let mut session = export::session(model).unwrap();
    let image = Tensor { data: TensorData::F32(case.floats("image")), ..Tensor::zeroed(session.input()) };
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&image, &mut outputs).unwrap();

    let head = &model.architecture.head;
    for (index, output) in outputs.iter().enumerate() {
        let raw = format!("raw{index}");
        assert_eq!(case.shape(&raw).unwrap(), output.shape, "{name}");
        for (a, b) in groups(head, &case.floats(&raw), output).iter() {
            let error = relative_error(a, b);
            assert!(error <= MAX_RAW_ERROR, "{name} {raw}: {error:e}");
        }
    }
    let Some(shape) = case.shape("decoded") else { return };
    let listing = match head.boxes {
        Boxes::Anchors { .. } => Listing::Rows,
        Boxes::Distances { .. } => Listing::Columns,
    };
    let own = Own::read(&case.floats("decoded"), &shape, listing);
    let specs = session.outputs().to_vec();
    let mut decoder = Decoder::new(&head.decode(), head.classes.len(), &specs, own.limits()).unwrap();
    let map = LetterboxMap::fit(IMGSZ, IMGSZ, &Preprocess::yolo(IMGSZ, IMGSZ));
    own.assert_found(&name, IMGSZ, decoder.detect(&outputs, &map).unwrap());
}

/// The values of each group of channels, in both.
fn groups(head: &Head, a: &[f32], output: &Tensor) -> Vec<(Vec<f32>, Vec<f32>)> {
    let TensorData::F32(b) = &output.data else { panic!("no floats") };
    if matches!(head.boxes, Boxes::Distances { .. }) {
        return vec![(a.to_vec(), b.clone())];
    }
    let (numbers, cells) = (5 + head.classes.len(), output.shape[2] * output.shape[3]);
    let pick = |values: &[f32], channels: std::ops::Range<usize>| -> Vec<f32> {
        let planes = values.chunks_exact(cells).enumerate();
        planes
            .filter(|(at, _)| channels.contains(&(at % numbers)))
            .flat_map(|(_, plane)| plane.to_vec())
            .collect()
    };
    [0..4, 4..5, 5..numbers].into_iter().map(|range| (pick(a, range.clone()), pick(b, range))).collect()
}

/// Writes `bytes` as a model and imports it.
fn imported(bytes: &[u8]) -> FusedModel {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    match import::load(&path).unwrap() {
        Checkpoint::Fused(model) => model,
        Checkpoint::Trained(_) => panic!("not fused"),
    }
}

#[test]
fn our_own_training_form_comes_back_as_the_fused_model() {
    for (name, block) in [
        ("repyolov5n", Block::Repvgg),
        ("repyolov5s-lite", Block::Qarepvgg),
        ("v5lite-g", Block::Repvgg),
        ("repyolov3-spp", Block::Repvgg),
        ("repyolov4", Block::Qarepvgg),
    ] {
        let trained = narrow_model(name, &Overrides { act: None, block: Some(block) }, 3, IMGSZ);
        let expected = fuse(&trained).unwrap();
        let found = imported(&onnx::write_diagnostic(&trained).unwrap());
        assert_eq!(found.architecture.head, expected.architecture.head, "{name}");
        assert_eq!(found.imgsz, IMGSZ);
        let convs = |model: &FusedModel| -> Vec<String> {
            let nodes = model.architecture.graph.nodes.iter();
            nodes.filter(|node| matches!(node.op, Op::Conv(_))).map(|node| node.name.clone()).collect()
        };
        assert_eq!(convs(&found).len(), convs(&expected).len(), "{name}");
        let run = |model: &FusedModel| support::run(&mut export::session(model).unwrap(), 3);
        for (a, b) in run(&expected).iter().zip(run(&found)) {
            let error = relative_error(a, &b);
            assert!(error <= 1e-5, "{name}: {error:e}");
        }
    }
}

#[test]
fn our_own_fused_models_come_back_as_they_were() {
    let fused = fuse(&random_model("repyolov5n", &Overrides::default(), 3, IMGSZ)).unwrap();
    let found = imported(&onnx::write(&fused).unwrap());
    assert_eq!(found.weights, fused.weights);
    assert_eq!(onnx::write(&found).unwrap(), {
        let mut named = fused.clone();
        named.architecture.name = "model".into();
        onnx::write(&named).unwrap()
    });
}
