//! The ONNX import over models written here byte by byte and, in `runtime`, by Python: what is understood computes what
//! other engines compute of the file itself; what is not is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of small models"
)]

mod boxes;
mod cli;
mod detectors;
mod file;
mod heads;
mod hostile;
mod refused;
mod runtime;
#[path = "../support/mod.rs"]
mod support;
mod trunk;
mod weights;

use artifact::{DType, Layout, TensorSpec};
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use support::relative_error;
use train_host::Result;
use train_host::export;
use train_host::import::{self, Options};
use train_host::model::{Checkpoint, FusedModel, Op};

use detectors::CLASSES;
use file::{Onnx, SIDE_PX};

fn import_with(onnx: &Onnx, options: &Options) -> Result<FusedModel> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, onnx.bytes()).unwrap();
    match import::open_with(&path, options)?.checkpoint {
        Checkpoint::Fused(model) => Ok(model),
        Checkpoint::Trained(_) => panic!("not fused"),
    }
}

fn imported(onnx: &Onnx) -> FusedModel {
    import_with(onnx, &Options::default()).unwrap()
}

fn refusal(onnx: &Onnx) -> String {
    match import_with(onnx, &Options::default()) {
        Err(error) => error.to_string(),
        Ok(model) => panic!("was taken: {:#?}", model.architecture.graph.nodes),
    }
}

/// Raw outputs of the file itself in tract against those of the imported model.
fn assert_same_raw_outputs(onnx: &Onnx) -> FusedModel {
    let model = imported(onnx);
    let mut session = export::session(&model).unwrap();
    let found = support::run(&mut session, 5);
    let spec = |name: &str, shape| TensorSpec {
        name: name.into(),
        dtype: DType::F32,
        layout: Layout::Nchw,
        shape,
        quant: None,
    };
    let names = onnx.outputs.iter().zip(session_shapes(&session));
    let outputs = names.map(|(name, shape)| spec(name, shape)).collect();
    let image = spec("images", [1, 3, SIDE_PX, SIDE_PX]);
    let mut original = TractSession::from_onnx(&onnx.bytes(), image, outputs).unwrap();
    for (a, b) in support::run(&mut original, 5).iter().zip(&found) {
        let error = relative_error(a, b);
        assert!(error <= 1e-4, "{error:e}");
    }
    model
}

fn session_shapes(session: &TractSession) -> Vec<[usize; 4]> {
    session.outputs().iter().map(|spec| spec.shape).collect()
}

/// Raw outputs over a trunk that `build` makes of the image: a map of 8 channels and `SIDE_PX / 4` pixels a side.
fn over(build: impl FnOnce(&mut Onnx) -> String) -> Onnx {
    let mut onnx = Onnx::new();
    let map = build(&mut onnx);
    let channels = 3 * (5 + CLASSES);
    onnx.outputs = [2, 4, 8].map(|stride| onnx.conv(&map, [8, channels], stride, stride)).to_vec();
    onnx
}

/// A convolution from the image to a map of `channels`.
fn stem(onnx: &mut Onnx, channels: usize) -> String {
    onnx.conv("images", [3, channels], 4, 4)
}

fn ops(model: &FusedModel) -> Vec<Op> {
    model.architecture.graph.nodes.iter().map(|node| node.op).collect()
}
