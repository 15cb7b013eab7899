//! Weights in every form that a file may hold them in, and those that are refused.

use half::f16;

use crate::detectors::raw_anchors;
use crate::file::{FLOAT16, bytes, int, varint};
use crate::{imported, refusal};

#[test]
fn sixteen_bit_weights_are_read_in_every_form() {
    let onnx = raw_anchors();
    let expected = imported(&onnx);
    for packed in [false, true] {
        let mut small = onnx.clone();
        small.inputs[0].1 = FLOAT16;
        for stored in &mut small.stored {
            let raw = &stored.data[stored.data.len() - 4 * stored.dims.iter().product::<i64>() as usize..];
            let halves = raw.as_chunks().0.iter().map(|bytes| f16::from_f32(f32::from_le_bytes(*bytes)));
            stored.data_type = FLOAT16;
            stored.data = if packed {
                bytes(5, &halves.flat_map(|half| varint(u64::from(half.to_bits()))).collect::<Vec<u8>>())
            } else {
                bytes(9, &halves.flat_map(f16::to_le_bytes).collect::<Vec<u8>>())
            };
        }
        let model = imported(&small);
        assert_eq!(model.architecture, expected.architecture);
        for ((name, a), (_, b)) in model.weights.iter().zip(expected.weights.iter()) {
            let rounded: Vec<f32> = b.data.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
            assert_eq!(a.data, rounded, "{name}");
        }
    }
}

#[test]
fn floats_are_read_from_their_own_field_too() {
    let onnx = raw_anchors();
    let mut other = onnx.clone();
    for stored in &mut other.stored {
        let raw =
            stored.data[stored.data.len() - 4 * stored.dims.iter().product::<i64>() as usize..].to_vec();
        stored.data = bytes(4, &raw);
    }
    assert_eq!(imported(&other), imported(&onnx));
}

#[test]
fn weights_in_other_files_are_never_looked_up() {
    for fields in [int(14, 1), bytes(13, &[bytes(1, b"location"), bytes(2, b"/etc/passwd")].concat())] {
        let mut onnx = raw_anchors();
        onnx.stored[0].data = fields;
        let error = refusal(&onnx);
        assert!(error.contains("\"stored0\" lies in another file") && error.contains("onnx.save"), "{error}");
    }
}

#[test]
fn data_of_another_length_than_its_dimensions_is_refused() {
    for dims in
        [vec![21, 3, 8, 7], vec![-1, 3, 8, 8], vec![i64::MAX; 4], vec![0, i64::MAX, i64::MAX, i64::MAX]]
    {
        let mut onnx = raw_anchors();
        onnx.stored[0].dims = dims;
        assert!(refusal(&onnx).contains("\"stored0\""));
    }
}
