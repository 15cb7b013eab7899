//! Heads, raw and decoded, in the forms that exporters give them: all are cut at the same convolutions.

use train_host::import::Options;
use train_host::model::{Boxes, FusedModel};

use crate::detectors::{
    ANCHORS_PX, BINS, CLASSES, STRIDES, decoded_anchors, decoded_split, raw_anchors, raw_split,
};
use crate::file::{FLOAT, Node, Onnx, SIDE_PX, axis, bytes, perm};
use crate::{assert_same_raw_outputs, import_with, imported, ops, refusal, support};

#[test]
fn raw_outputs_are_taken_in_any_order_and_their_names_from_the_file() {
    let mut onnx = raw_anchors();
    onnx.metadata = vec![("names".into(), "{0: 'cat', 1: 'dog'}".into())];
    onnx.nodes.reverse();
    let model = assert_same_raw_outputs(&onnx);
    let head = &model.architecture.head;
    assert_eq!(head.classes, ["cat", "dog"]);
    assert_eq!(head.strides, STRIDES);
    assert_eq!(head.anchors_px().unwrap()[2][2], [373.0, 326.0], "YOLOv5's own where none are stated");
    assert_eq!(model.architecture.name, "model");
    assert_eq!(model.imgsz, SIDE_PX);
    assert_eq!(ops(&model).len(), 4);

    onnx.metadata.clear();
    assert_eq!(imported(&onnx).architecture.head.classes, ["class0", "class1"]);
    let names = Some(vec!["a".to_owned(), "b".to_owned()]);
    let named = import_with(&onnx, &Options { names, imgsz: Some(96) }).unwrap();
    assert_eq!((named.architecture.head.classes, named.imgsz), (vec!["a".to_owned(), "b".to_owned()], 96));
}

#[test]
fn raw_outputs_by_anchor_and_with_sigmoids_are_the_same_head() {
    let expected = imported(&raw_anchors());
    for transposed in [false, true] {
        let mut onnx = raw_anchors();
        let raw = onnx.outputs.clone();
        onnx.outputs = raw
            .iter()
            .zip(STRIDES)
            .map(|(raw, stride)| {
                let side = (SIDE_PX / stride) as i64;
                let shape = onnx.ints(&[1, 3, 5 + CLASSES as i64, side, side]);
                let split = onnx.add("Reshape", &[raw, &shape], &[]);
                if transposed {
                    onnx.add("Transpose", &[&split], &perm(&[0, 1, 3, 4, 2]))
                } else {
                    onnx.add("Sigmoid", &[&split], &[])
                }
            })
            .collect();
        assert_eq!(imported(&onnx), expected);
    }
}

#[test]
fn anchors_are_those_of_the_decoding() {
    let model = imported(&decoded_anchors());
    let anchors = model.architecture.head.anchors_px().unwrap();
    for (found, expected) in
        anchors.as_ref().iter().flatten().flatten().zip(ANCHORS_PX.as_flattened().as_flattened())
    {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
    assert_eq!(model.weights, imported(&raw_anchors()).weights);
}

#[test]
fn levels_may_be_listed_coarse_to_fine() {
    let mut onnx = decoded_anchors();
    onnx.nodes.last_mut().unwrap().inputs.reverse();
    assert_eq!(imported(&onnx), imported(&decoded_anchors()));
}

#[test]
fn split_heads_are_cut_in_pairs() {
    let mut transposed = decoded_split();
    let output = transposed.outputs[0].clone();
    transposed.outputs = vec![transposed.add("Transpose", &[&output], &perm(&[0, 2, 1]))];
    let mut joined = raw_split();
    let raw = joined.outputs.clone();
    joined.outputs =
        raw.chunks_exact(2).map(|pair| joined.add("Concat", &[&pair[0], &pair[1]], &axis(1))).collect();
    let mut decoded_too = decoded_split();
    decoded_too.outputs.extend(raw_split().outputs);
    let expected = assert_same_raw_outputs(&raw_split());
    for onnx in [decoded_split(), transposed, joined, decoded_too] {
        let model = imported(&onnx);
        assert_eq!(model.architecture.head.boxes, Boxes::Distances { reg_max: BINS });
        assert_eq!(model, expected);
    }
}

#[test]
fn boxes_and_classes_of_one_width_are_told_apart_by_what_is_computed() {
    // Sixteen classes beside distances of four bins: only the decoding tells which convolution is which.
    let mut onnx = decoded_split();
    for stored in &mut onnx.stored {
        // Kernels and biases of the class convolutions.
        let of_classes =
            matches!(stored.dims[..], [classes] | [classes, _, _, _] if classes == CLASSES as i64);
        if stored.data_type == FLOAT && of_classes {
            let count: i64 = 16 * stored.dims[1..].iter().product::<i64>();
            let values: Vec<u8> =
                support::noise(count as usize, 3).iter().flat_map(|v| v.to_le_bytes()).collect();
            stored.dims[0] = 16;
            stored.data = bytes(9, &values);
        }
    }
    let ints = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    for stored in &mut onnx.stored {
        for (old, new) in [([1, 18, -1].as_slice(), [1, 32, -1].as_slice()), (&[16, 2], &[16, 16])] {
            if stored.data == bytes(9, &ints(old)) {
                stored.data = bytes(9, &ints(new));
            }
        }
    }
    let graph = |model: &FusedModel| -> Vec<String> {
        let graph = &model.architecture.graph;
        graph.outputs.iter().map(|&output| graph.nodes[output].name.clone()).collect()
    };
    let model = imported(&onnx);
    assert_eq!(model.architecture.head.classes.len(), 16);
    let mut swapped = onnx.clone();
    for node in &mut swapped.nodes {
        if node.op == "Split"
            && node.inputs[1] == onnx.nodes.iter().find(|n| n.op == "Split").unwrap().inputs[1]
        {
            node.outputs.swap(0, 1);
        }
    }
    let swapped = imported(&swapped);
    let pairs: Vec<String> =
        graph(&model).chunks_exact(2).flat_map(|pair| [pair[1].clone(), pair[0].clone()]).collect();
    assert_eq!(graph(&swapped), pairs);
}

#[test]
fn decoding_that_computes_something_else_is_refused() {
    fn node<'a>(onnx: &'a mut Onnx, op: &str) -> &'a mut Node {
        onnx.nodes.iter_mut().find(|node| node.op == op).unwrap()
    }
    type Case = (&'static str, fn() -> Onnx, fn(&mut Onnx));
    let spoils: [Case; 4] = [
        ("YOLOv3's sizes", decoded_anchors, |onnx| {
            let power = node(onnx, "Pow");
            power.op = "Exp".into();
            power.inputs.truncate(1);
        }),
        ("scores twice", decoded_anchors, |onnx| {
            let output = onnx.outputs[0].clone();
            onnx.outputs = vec![onnx.add("Sigmoid", &[&output], &[])];
        }),
        ("corners in place of centers", decoded_split, |onnx| node(onnx, "Div").op = "Mul".into()),
        ("logits in place of scores", decoded_split, |onnx| node(onnx, "Sigmoid").op = "Identity".into()),
    ];
    for (what, make, spoil) in spoils {
        let mut onnx = make();
        spoil(&mut onnx);
        let error = refusal(&onnx);
        assert!(error.contains("is computed in another way than YOLOv"), "{what}: {error}");
    }
}

#[test]
fn sizes_left_open_are_given_by_the_file_or_the_caller() {
    let mut onnx = decoded_anchors();
    onnx.inputs[0].2 = vec![None, Some(3), None, None];
    assert!(refusal(&onnx).contains("--imgsz"));
    let options = Options { imgsz: Some(SIDE_PX), ..Options::default() };
    assert_eq!(import_with(&onnx, &options).unwrap(), imported(&decoded_anchors()));
    onnx.metadata.push(("imgsz".into(), format!("[{SIDE_PX}, {SIDE_PX}]")));
    assert_eq!(imported(&onnx), imported(&decoded_anchors()));
    let options = Options { imgsz: Some(usize::MAX), ..Options::default() };
    assert!(import_with(&onnx, &options).unwrap_err().to_string().contains("image size"));
}

#[test]
fn raw_heads_of_other_than_yolov5s_shape_need_their_anchors() {
    let mut onnx = raw_anchors();
    onnx.outputs.truncate(2);
    let kept: Vec<Node> = onnx.nodes[..2].to_vec();
    onnx.nodes = kept;
    assert!(refusal(&onnx).contains("its anchors"));
    onnx.metadata = vec![("anchors_px".into(), "[[[1,2],[3,4],[5,6]],[[7,8],[9,10],[11,12]]]".into())];
    let model = imported(&onnx);
    assert_eq!(model.architecture.head.anchors_px().unwrap()[1][0], [7.0, 8.0]);
}
