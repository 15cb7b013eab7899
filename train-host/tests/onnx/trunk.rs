//! What stands before the head: folded, recognized by what it computes, and computing what tract computes of the file.

use train_host::model::{Activation, Attention, FusedModel, Op};

use crate::file::{Attr, Onnx, SIDE_PX, axis, perm, window};
use crate::{assert_same_raw_outputs, imported, ops, over, refusal, stem};

fn count(model: &FusedModel, wanted: impl Fn(&Op) -> bool) -> usize {
    ops(model).iter().filter(|op| wanted(op)).count()
}

#[test]
fn rep_blocks_fold_into_one_convolution() {
    let onnx = over(|onnx| {
        let x = stem(onnx, 8);
        let dense = onnx.conv(&x, [8, 8], 3, 1);
        let dense = onnx.norm(&dense, 8);
        let pointwise = onnx.conv(&x, [8, 8], 1, 1);
        let pointwise = onnx.norm(&pointwise, 8);
        let identity = onnx.norm(&x, 8);
        let sum = onnx.add("Add", &[&dense, &identity], &[]);
        let sum = onnx.add("Add", &[&sum, &pointwise], &[]);
        let x = onnx.add("Relu", &[&sum], &[]);
        // QARepVGG: biases, a bare identity, one batch norm after the sum.
        let dense = onnx.conv(&x, [8, 8], 3, 1);
        let pointwise = onnx.conv(&x, [8, 8], 1, 1);
        let sum = onnx.add("Sum", &[&dense, &x, &pointwise], &[]);
        let sum = onnx.norm(&sum, 8);
        onnx.add("Relu", &[&sum], &[])
    });
    let model = assert_same_raw_outputs(&onnx);
    assert_eq!(count(&model, |op| matches!(op, Op::Conv(_))), 3 + 3);
    assert_eq!(count(&model, |op| matches!(op, Op::Add | Op::BatchNorm { .. })), 0);
}

#[test]
fn batch_norms_that_follow_no_convolution_become_one() {
    let onnx = over(|onnx| {
        let x = stem(onnx, 4);
        let joined = onnx.add("Concat", &[&x, &x], &axis(1));
        let normed = onnx.norm(&joined, 8);
        onnx.add("LeakyRelu", &[&normed], &[("alpha", Attr::Float(0.1))])
    });
    let model = assert_same_raw_outputs(&onnx);
    assert_eq!(count(&model, |op| matches!(op, Op::Conv(conv) if conv.groups == 8)), 1);
}

#[test]
fn arithmetic_by_channel_folds_into_the_convolution() {
    let onnx = over(|onnx| {
        let weight = onnx.random(&[8, 3, 4, 4], 0.2);
        let x = onnx.add("Conv", &["images", &weight], &window(4, 4, 0));
        let scale = onnx.random(&[1, 8, 1, 1], 1.0);
        let shift = onnx.random(&[8, 1, 1], 1.0);
        let half = onnx.floats(&[], &[0.5]);
        let x = onnx.add("Mul", &[&scale, &x], &[]);
        let x = onnx.add("Add", &[&x, &shift], &[]);
        let x = onnx.add("Sub", &[&x, &half], &[]);
        let x = onnx.add("Sub", &[&half, &x], &[]);
        let x = onnx.add("Div", &[&x, &half], &[]);
        let x = onnx.add("Identity", &[&x], &[]);
        let x = onnx.add("Cast", &[&x], &[("to", Attr::Int(1))]);
        let gate = onnx.add("Sigmoid", &[&x], &[]);
        onnx.add("Mul", &[&gate, &x], &[])
    });
    let model = assert_same_raw_outputs(&onnx);
    assert_eq!(ops(&model)[2], Op::Act(Activation::Silu));
    assert_eq!(ops(&model).len(), 6);
}

#[test]
fn mish_is_recognized_as_one_node_and_as_three() {
    let mut onnx = over(|onnx| {
        let x = stem(onnx, 8);
        let gate = onnx.add("Softplus", &[&x], &[]);
        let gate = onnx.add("Tanh", &[&gate], &[]);
        onnx.add("Mul", &[&x, &gate], &[])
    });
    let three = assert_same_raw_outputs(&onnx);
    assert_eq!(ops(&three)[2], Op::Act(Activation::Mish));
    let input = onnx.nodes[0].outputs[0].clone();
    let mul = onnx.nodes.iter_mut().find(|node| node.op == "Mul").unwrap();
    (mul.op, mul.inputs) = ("Mish".into(), vec![input]);
    assert_eq!(ops(&imported(&onnx)), ops(&three));
}

#[test]
fn slices_splits_pools_and_resizes_keep_their_meaning() {
    let onnx = over(|onnx| {
        let x = stem(onnx, 12);
        let sizes = onnx.ints(&[5, 7]);
        let parts = onnx.add_all("Split", &[&x, &sizes], 2, &axis(1));
        let (starts, ends, axes) = (onnx.ints(&[-3]), onnx.ints(&[i64::MAX]), onnx.ints(&[-3]));
        let tail = onnx.add("Slice", &[&parts[1], &starts, &ends, &axes], &[]);
        let joined = onnx.add("Concat", &[&tail, &parts[0]], &axis(-3));
        let pooled = onnx.add("MaxPool", &[&joined], &window(2, 2, 0));
        let shape = onnx.add("Shape", &[&joined], &[]);
        let resized = onnx.add(
            "Resize",
            &[&pooled, "", "", &shape],
            &[
                ("mode", Attr::Text("nearest")),
                ("coordinate_transformation_mode", Attr::Text("half_pixel")),
                ("nearest_mode", Attr::Text("round_prefer_floor")),
            ],
        );
        let five = onnx.add("MaxPool", &[&resized], &window(5, 1, 2));
        onnx.add("Add", &[&five, &joined], &[])
    });
    let model = assert_same_raw_outputs(&onnx);
    assert_eq!(
        count(&model, |op| matches!(op, Op::Slice { start: 9, len: 3 } | Op::Slice { start: 4, len: 3 })),
        1
    );
    assert_eq!(count(&model, |op| matches!(op, Op::Upsample { factor: 2 })), 1);
}

#[test]
fn focus_is_recognized_by_where_the_pixels_go() {
    for nested in [false, true] {
        let onnx = over(|onnx| {
            let (ends, steps) = (onnx.ints(&[i64::MAX, i64::MAX]), onnx.ints(&[2, 2]));
            let (end, step) = (onnx.ints(&[i64::MAX]), onnx.ints(&[2]));
            let (rows, columns, both) = (onnx.ints(&[2]), onnx.ints(&[3]), onnx.ints(&[2, 3]));
            let blocks: Vec<String> = [[0, 0], [1, 0], [0, 1], [1, 1]]
                .into_iter()
                .map(|[row, column]| {
                    if nested {
                        let start = onnx.ints(&[row]);
                        let x = onnx.add("Slice", &["images", &start, &end, &rows, &step], &[]);
                        let start = onnx.ints(&[column]);
                        onnx.add("Slice", &[&x, &start, &end, &columns, &step], &[])
                    } else {
                        let starts = onnx.ints(&[row, column]);
                        onnx.add("Slice", &["images", &starts, &ends, &both, &steps], &[])
                    }
                })
                .collect();
            let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
            let x = onnx.add("Concat", &blocks, &axis(1));
            onnx.conv(&x, [12, 8], 2, 2)
        });
        let model = assert_same_raw_outputs(&onnx);
        assert_eq!(ops(&model)[1], Op::SpaceToDepth);
    }
}

#[test]
fn shuffled_channels_are_slices_joined() {
    let side = SIDE_PX as i64 / 4;
    let onnx = over(|onnx| {
        let x = stem(onnx, 8);
        let shape = onnx.ints(&[1, 2, 4, side, side]);
        let split = onnx.add("Reshape", &[&x, &shape], &[]);
        let swapped = onnx.add("Transpose", &[&split], &perm(&[0, 2, 1, 3, 4]));
        let shape = onnx.ints(&[1, 8, side, side]);
        onnx.add("Reshape", &[&swapped, &shape], &[])
    });
    let model = assert_same_raw_outputs(&onnx);
    assert_eq!(count(&model, |op| matches!(op, Op::Slice { len: 1, .. })), 8);
}

/// Attention over a map of 8·8 positions with 2 heads of 2 keys and 4 values; `scale` multiplies the products.
fn attention(scale: f32) -> Onnx {
    let side = SIDE_PX as i64 / 4;
    over(|onnx| {
        let qkv = stem(onnx, 16);
        let shape = onnx.ints(&[1, 2, 8, side * side]);
        let heads = onnx.add("Reshape", &[&qkv, &shape], &[]);
        let sizes = onnx.ints(&[2, 2, 4]);
        let parts = onnx.add_all("Split", &[&heads, &sizes], 3, &axis(2));
        let query = onnx.add("Transpose", &[&parts[0]], &perm(&[0, 1, 3, 2]));
        let products = onnx.add("MatMul", &[&query, &parts[1]], &[]);
        let scale = onnx.floats(&[], &[scale]);
        let products = onnx.add("Mul", &[&products, &scale], &[]);
        let weights = onnx.add("Softmax", &[&products], &axis(-1));
        let weights = onnx.add("Transpose", &[&weights], &perm(&[0, 1, 3, 2]));
        let sums = onnx.add("MatMul", &[&parts[2], &weights], &[]);
        let shape = onnx.ints(&[1, 8, side, side]);
        let sums = onnx.add("Reshape", &[&sums, &shape], &[]);
        let values = onnx.add("Reshape", &[&parts[2], &shape], &[]);
        onnx.add("Add", &[&sums, &values], &[])
    })
}

#[test]
fn attention_is_recognized_by_what_it_computes() {
    let model = assert_same_raw_outputs(&attention(0.5_f32.sqrt()));
    let expected = Attention { heads: 2, key_dim: 2, head_dim: 4 };
    assert_eq!(count(&model, |op| *op == Op::Attention(expected)), 1);
    assert_eq!(count(&model, |op| matches!(op, Op::Slice { start: 4 | 12, len: 4 })), 2);
    let error = refusal(&attention(1.0));
    assert!(error.contains("not the attention of YOLO11's C2PSA"), "{error}");
}
