//! The tract backend: right numbers from good models, errors from bad ones, panics from none.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use artifact::{DType, Layout, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use prost::Message;
use repedge::Error;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use tract_onnx::pb;

fn load(model: &pb::ModelProto) -> Result<TractSession, Error> {
    TractSession::from_onnx(&model.encode_to_vec(), common::input(), common::outputs())
}

/// Spoils the good model and gives the error it then has.
fn refusal(spoil: impl FnOnce(&mut pb::GraphProto)) -> String {
    let mut model = common::onnx();
    spoil(model.graph.as_mut().unwrap());
    match load(&model) {
        Err(Error::Backend(fault)) => fault.to_string(),
        Err(other) => panic!("another kind of error: {other}"),
        Ok(_) => panic!("a spoiled model was loaded"),
    }
}

fn outputs_of(session: &mut TractSession, input: &Tensor) -> Vec<Vec<f32>> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(input, &mut outputs).unwrap();
    let floats = |tensor| match tensor {
        Tensor { data: TensorData::F32(data), .. } => data,
        other => panic!("{other:?}"),
    };
    outputs.into_iter().map(floats).collect()
}

#[test]
fn outputs_are_the_convolutions_in_order() {
    let mut session = load(&common::onnx()).unwrap();
    assert_eq!(*session.input(), common::input());
    let mut input = Tensor::zeroed(session.input());
    let TensorData::F32(data) = &mut input.data else { unreachable!() };
    data[..64 * 64].fill(0.5);
    let outputs = outputs_of(&mut session, &input);
    for (output, (cells, objectness)) in outputs.iter().zip([(64, -1000.0), (16, -1000.0), (4, -20.0)]) {
        assert_eq!(output.len(), 7 * cells);
        for (channel, expected) in [(0, 0.0), (4, objectness + 20.0), (5, 20.0), (6, -20.0)] {
            let value = output[channel * cells];
            assert!((value - expected).abs() < 1e-3, "channel {channel}: {value}, not {expected}");
        }
    }
}

#[test]
fn a_session_is_used_again_and_again() {
    let mut session = load(&common::onnx()).unwrap();
    let black = Tensor::zeroed(session.input());
    let first = outputs_of(&mut session, &black);
    let mut red = black.clone();
    let TensorData::F32(data) = &mut red.data else { unreachable!() };
    data[..64 * 64].fill(1.0);
    assert!(outputs_of(&mut session, &red) != first);
    assert!(outputs_of(&mut session, &black) == first);
}

#[test]
fn tensors_of_other_shapes_are_refused() {
    let mut session = load(&common::onnx()).unwrap();
    let input = Tensor::zeroed(session.input());
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    assert!(session.run(&input, &mut outputs[..2]).is_err());
    let short = Tensor { data: TensorData::F32(vec![0.0; 5]), ..input.clone() };
    assert!(session.run(&short, &mut outputs).is_err());
    let bytes = Tensor { data: TensorData::U8(vec![0; 3 * 64 * 64]), ..input.clone() };
    assert!(session.run(&bytes, &mut outputs).is_err());
    outputs.swap(0, 1);
    assert!(session.run(&input, &mut outputs).is_err());
}

#[test]
fn models_that_do_not_fit_their_specification_are_refused() {
    let model = common::onnx().encode_to_vec();
    let rejects = |input: TensorSpec, outputs: Vec<TensorSpec>| {
        TractSession::from_onnx(&model, input, outputs).map(drop).expect_err("was loaded").to_string()
    };
    let (input, outputs) = (common::input(), common::outputs());
    let mut renamed = outputs.clone();
    renamed[1].name = "elsewhere".into();
    assert!(rejects(input.clone(), renamed).contains("elsewhere"));
    let mut resized = outputs.clone();
    resized[2].shape[3] = 3;
    assert!(rejects(input.clone(), resized).contains("output2"));
    assert!(
        rejects(TensorSpec { name: "pixels".into(), ..input.clone() }, outputs.clone()).contains("pixels")
    );
    assert!(
        rejects(TensorSpec { shape: [1, 3, 32, 32], ..input.clone() }, outputs.clone()).contains("output0")
    );
    assert!(rejects(TensorSpec { dtype: DType::U8, ..input.clone() }, outputs.clone()).contains("f32 NCHW"));
    assert!(rejects(TensorSpec { layout: Layout::Nhwc, ..input }, outputs).contains("f32 NCHW"));
}

#[test]
fn what_tract_would_panic_on_is_an_error() {
    let truncated = refusal(|graph| graph.initializer[0].raw_data.truncate(10));
    assert!(truncated.contains("\"w0\" holds 10 bytes"), "{truncated}");
    let huge = refusal(|graph| graph.initializer[0].dims = vec![i64::MAX, i64::MAX]);
    assert!(huge.contains("dimensions"), "{huge}");
    let nowhere = refusal(|graph| graph.output[0].name = "nowhere".into());
    assert!(nowhere.contains("no node makes output \"nowhere\""), "{nowhere}");
    assert!(refusal(|graph| graph.node[0].input[1] = "missing".into()).contains("missing"));
    assert!(refusal(|graph| graph.node[0].op_type = "Frobnicate".into()).contains("Frobnicate"));
    assert!(refusal(|graph| graph.node.clear()).contains("no node makes"));
}

#[test]
fn data_in_other_files_is_never_looked_up() {
    let external = refusal(|graph| {
        let tensor = &mut graph.initializer[0];
        tensor.raw_data.clear();
        tensor.data_location = Some(pb::tensor_proto::DataLocation::External as i32);
        tensor
            .external_data
            .push(pb::StringStringEntryProto { key: "location".into(), value: "/etc/passwd".into() });
    });
    assert!(external.contains("lies in another file"), "{external}");
}

#[test]
fn no_bytes_are_no_model() {
    for bytes in [&b""[..], b"\x08\x07", b"not a protobuf"] {
        let error = TractSession::from_onnx(bytes, common::input(), common::outputs()).map(drop);
        assert!(matches!(error, Err(Error::Backend(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_models_never_panic(
        at in any::<proptest::sample::Index>(),
        patch in proptest::collection::vec(any::<u8>(), 1..6),
    ) {
        let mut model = common::onnx();
        // Most bytes are weights, whose damage nobody can notice: leave only the small convolution's.
        let graph = model.graph.as_mut().unwrap();
        graph.node.truncate(1);
        graph.output.truncate(1);
        graph.initializer.truncate(2);
        let mut bytes = model.encode_to_vec();
        let at = at.index(bytes.len());
        let end = (at + patch.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        let outputs = common::outputs()[..1].to_vec();
        if let Ok(mut session) = TractSession::from_onnx(&bytes, common::input(), outputs) {
            outputs_of(&mut session, &Tensor::zeroed(&common::input()));
        }
    }
}
