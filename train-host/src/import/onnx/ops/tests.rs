#![allow(clippy::cast_possible_wrap, reason = "the tensors made here are small")]

use proptest::prelude::*;

use super::*;
use crate::import::onnx::proto::{Attr, Attribute, Node, data_type};
use crate::import::onnx::tensor::Data;

/// Runs an operator of `outputs` results in opset 17.
fn run(
    op: &'static str,
    attributes: Vec<(&'static str, Attr<'static>)>,
    inputs: &[Option<&Value>],
    outputs: usize,
) -> Result<Vec<Value>, Fault> {
    run_in(17, op, attributes, inputs, outputs)
}

fn run_in(
    opset: i64,
    op: &'static str,
    attributes: Vec<(&'static str, Attr<'static>)>,
    inputs: &[Option<&Value>],
    outputs: usize,
) -> Result<Vec<Value>, Fault> {
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
    let node = Node { op, outputs: vec!["y"; outputs], attributes, ..Node::default() };
    let mut work = Work::new(1 << 24);
    evaluate(&mut Call { node: &node, inputs: inputs.to_vec(), opset, work: &mut work })
}

/// The one result of an operator.
fn one(op: &'static str, attributes: Vec<(&'static str, Attr<'static>)>, inputs: &[&Value]) -> Value {
    let inputs: Vec<Option<&Value>> = inputs.iter().map(|&input| Some(input)).collect();
    run(op, attributes, &inputs, 1).unwrap_or_else(|fault| panic!("{op}: {fault}")).remove(0)
}

fn refused(op: &'static str, attributes: Vec<(&'static str, Attr<'static>)>, inputs: &[&Value]) -> String {
    let inputs: Vec<Option<&Value>> = inputs.iter().map(|&input| Some(input)).collect();
    run(op, attributes, &inputs, 1).map(|values| panic!("{op}: {values:?}")).unwrap_err().to_string()
}

fn ints(shape: &[usize], data: &[i64]) -> Value {
    Value::ints(shape.to_vec(), data.to_vec())
}

fn list(data: &[i64]) -> Value {
    ints(&[data.len()], data)
}

fn floats(shape: &[usize], data: &[f32]) -> Value {
    Value::floats(shape.to_vec(), data.to_vec())
}

/// 0, 1, 2, … in a shape.
fn counted(shape: &[usize]) -> Value {
    let count: usize = shape.iter().product();
    Value::ints(shape.to_vec(), (0..count as i64).collect())
}

fn unknown(shape: &[usize]) -> Value {
    Value::unknown(shape.to_vec())
}

#[track_caller]
fn assert_ints(value: &Value, shape: &[usize], data: &[i64]) {
    assert_eq!((value.shape.as_slice(), value.as_ints()), (shape, Some(data)));
}

#[track_caller]
fn assert_floats(value: &Value, shape: &[usize], data: &[f32]) {
    assert_eq!((value.shape.as_slice(), value.as_floats()), (shape, Some(data)));
}

fn int(value: i64) -> Attr<'static> {
    Attr::Int(value)
}

fn axis_of(value: i64) -> Vec<(&'static str, Attr<'static>)> {
    vec![("axis", int(value))]
}

#[test]
fn reshapes_fill_the_open_side_and_copy_zeros() {
    let value = counted(&[2, 6]);
    assert_eq!(one("Reshape", vec![], &[&value, &list(&[3, -1])]).shape, [3, 4]);
    assert_eq!(one("Reshape", vec![], &[&value, &list(&[0, -1, 2])]).shape, [2, 3, 2]);
    assert_eq!(one("Reshape", vec![], &[&unknown(&[1, 4]), &list(&[2, 2])]).shape, [2, 2]);
    for asked in [&[5, -1][..], &[-1, -1], &[0, 0, 0], &[-2, 6], &[3, 3]] {
        refused("Reshape", vec![], &[&value, &list(asked)]);
    }
    refused("Reshape", vec![("allowzero", int(1))], &[&value, &list(&[0, -1])]);
    assert_eq!(one("Flatten", vec![], &[&counted(&[2, 3, 4])]).shape, [2, 12]);
    assert_eq!(one("Flatten", axis_of(3), &[&counted(&[2, 3, 4])]).shape, [24, 1]);
}

#[test]
fn axes_of_one_come_and_go_in_old_and_new_opsets() {
    let value = counted(&[1, 3, 1]);
    assert_eq!(one("Squeeze", vec![], &[&value]).shape, [3]);
    assert_eq!(one("Squeeze", vec![("axes", Attr::Ints(vec![-1]))], &[&value]).shape, [1, 3]);
    assert_eq!(one("Squeeze", vec![], &[&value, &list(&[0])]).shape, [3, 1]);
    refused("Squeeze", vec![], &[&value, &list(&[1])]);
    assert_eq!(one("Unsqueeze", vec![("axes", Attr::Ints(vec![0, -1]))], &[&counted(&[3])]).shape, [1, 3, 1]);
    assert_eq!(one("Unsqueeze", vec![], &[&counted(&[]), &list(&[0])]).shape, [1]);
    refused("Unsqueeze", vec![], &[&counted(&[3]), &list(&[0, 0])]);
    let many: Vec<i64> = (0..1_000_000).collect();
    assert!(refused("Unsqueeze", vec![], &[&counted(&[3]), &list(&many)]).contains("1000001 axes"));
    assert_eq!(one("Reshape", vec![], &[&counted(&[1]), &list(&[1; 16])]).shape, [1; 16]);
    refused("Reshape", vec![], &[&counted(&[1]), &list(&[1; 17])]);
}

#[test]
fn transposes_move_axes() {
    let value = counted(&[2, 3]);
    assert_ints(&one("Transpose", vec![], &[&value]), &[3, 2], &[0, 3, 1, 4, 2, 5]);
    let order = vec![("perm", Attr::Ints(vec![0, 2, 1]))];
    assert_ints(&one("Transpose", order, &[&counted(&[1, 2, 2])]), &[1, 2, 2], &[0, 2, 1, 3]);
    for order in [vec![0], vec![0, 0], vec![0, 2]] {
        refused("Transpose", vec![("perm", Attr::Ints(order))], &[&value]);
    }
}

#[test]
fn slices_count_as_numpy_does() {
    let value = counted(&[10]);
    let slice = |start, end, step| {
        let value =
            one("Slice", vec![], &[&value, &list(&[start]), &list(&[end]), &list(&[0]), &list(&[step])]);
        value.as_ints().unwrap().to_vec()
    };
    assert_eq!(slice(2, 5, 1), [2, 3, 4]);
    assert_eq!(slice(-3, i64::MAX, 1), [7, 8, 9]);
    assert_eq!(slice(1, i64::MAX, 4), [1, 5, 9]);
    assert_eq!(slice(-1, i64::MIN, -3), [9, 6, 3, 0]);
    assert_eq!(slice(8, 2, -2), [8, 6, 4]);
    assert_eq!(slice(5, 5, 1), [0_i64; 0]);
    assert_eq!(slice(9, 100, i64::MAX), [9]);
    assert_eq!(slice(100, 200, 1), [0_i64; 0]);
    let square = counted(&[3, 3]);
    let inner = one("Slice", vec![], &[&square, &list(&[1, 0]), &list(&[3, 2])]);
    assert_ints(&inner, &[2, 2], &[3, 4, 6, 7]);
    refused("Slice", vec![], &[&value, &list(&[0]), &list(&[5]), &list(&[0]), &list(&[0])]);
    refused("Slice", vec![], &[&value, &list(&[0]), &list(&[5]), &list(&[1])]);
    refused("Slice", vec![], &[&value, &list(&[0, 0]), &list(&[5, 5])]);
    refused("Slice", vec![], &[&square, &list(&[2, 2]), &list(&[3, 3]), &list(&[0, 0])]);
}

#[test]
fn splits_and_concatenations_are_inverse() {
    let value = counted(&[2, 5]);
    let (axis, lengths) = (|| axis_of(1), list(&[2, 3]));
    let parts = run("Split", axis(), &[Some(&value), Some(&lengths)], 2).unwrap();
    assert_ints(&parts[0], &[2, 2], &[0, 1, 5, 6]);
    assert_ints(&one("Concat", axis(), &[&parts[0], &parts[1]]), &[2, 5], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let uneven = run("Split", axis(), &[Some(&value)], 2).unwrap();
    assert_eq!([uneven[0].shape[1], uneven[1].shape[1]], [3, 2]);
    let old = run("Split", vec![("axis", int(1)), ("split", Attr::Ints(vec![4, 1]))], &[Some(&value)], 2);
    assert_eq!(old.unwrap()[1].shape, [2, 1]);
    assert!(run("Split", axis(), &[Some(&value), Some(&list(&[2, 2]))], 2).is_err());
    assert!(run("Split", axis(), &[Some(&value), Some(&lengths)], 3).is_err());
    let wide = run("Split", axis(), &[Some(&unknown(&[1, 5_120])), Some(&list(&[1_024; 5]))], 5).unwrap();
    assert!(wide.iter().all(|part| part.shape == [1, 1_024]));
    assert!(run("Split", axis(), &[Some(&value), Some(&list(&[-1, 6]))], 2).is_err());
    refused("Concat", axis_of(0), &[&value, &counted(&[2, 4])]);
    refused("Concat", axis_of(0), &[&value, &floats(&[2, 5], &[0.0; 10])]);
    assert_eq!(one("Concat", axis_of(-2), &[&value, &unknown(&[3, 5])]).shape, [5, 5]);
}

#[test]
fn gathers_take_along_an_axis() {
    let value = counted(&[2, 3]);
    assert_ints(&one("Gather", axis_of(1), &[&value, &list(&[2, -3])]), &[2, 2], &[2, 0, 5, 3]);
    assert_ints(&one("Gather", vec![], &[&value, &ints(&[], &[1])]), &[3], &[3, 4, 5]);
    refused("Gather", vec![], &[&value, &list(&[2])]);
    assert_ints(&one("Expand", vec![], &[&counted(&[2, 1]), &list(&[2, 2])]), &[2, 2], &[0, 0, 1, 1]);
}

#[test]
fn shapes_and_ranges_are_numbers() {
    assert_ints(&one("Shape", vec![], &[&unknown(&[1, 3, 8])]), &[3], &[1, 3, 8]);
    let part = vec![("start", int(-2)), ("end", int(2))];
    assert_ints(&one("Shape", part, &[&unknown(&[1, 3, 8])]), &[1], &[3]);
    let range = |a, b, c| {
        one("Range", vec![], &[&ints(&[], &[a]), &ints(&[], &[b]), &ints(&[], &[c])])
            .as_ints()
            .unwrap()
            .to_vec()
    };
    assert_eq!(range(0, 3, 1), [0, 1, 2]);
    assert_eq!(range(5, 0, -2), [5, 3, 1]);
    assert_eq!(range(3, 0, 1), [0_i64; 0]);
    let float = |value| floats(&[], &[value]);
    assert_floats(&one("Range", vec![], &[&float(0.5), &float(2.0), &float(1.0)]), &[2], &[0.5, 1.5]);
    refused("Range", vec![], &[&ints(&[], &[0]), &ints(&[], &[1]), &ints(&[], &[0])]);
    assert_floats(&one("ConstantOfShape", vec![], &[&list(&[2])]), &[2], &[0.0, 0.0]);
}

#[test]
fn arithmetic_broadcasts() {
    let a = floats(&[2, 1], &[1.0, 2.0]);
    let b = floats(&[2], &[10.0, 20.0]);
    assert_floats(&one("Add", vec![], &[&a, &b]), &[2, 2], &[11.0, 21.0, 12.0, 22.0]);
    assert_floats(&one("Sum", vec![], &[&a, &a, &a]), &[2, 1], &[3.0, 6.0]);
    assert_floats(&one("Pow", vec![], &[&b, &ints(&[], &[2])]), &[2], &[100.0, 400.0]);
    assert_ints(&one("Div", vec![], &[&list(&[7, -7]), &list(&[2])]), &[2], &[3, -3]);
    assert_ints(&one("Equal", vec![], &[&list(&[7, -1]), &list(&[-1])]), &[2], &[0, 1]);
    assert_ints(&one("Less", vec![], &[&a, &floats(&[], &[1.5])]), &[2, 1], &[1, 0]);
    let chosen = one("Where", vec![], &[&list(&[1, 0]), &list(&[5, 5]), &list(&[9])]);
    assert_ints(&chosen, &[2], &[5, 9]);
    assert_eq!(one("Mul", vec![], &[&unknown(&[3, 2, 4]), &a]).shape, [3, 2, 4]);
    refused("Div", vec![], &[&list(&[1]), &list(&[0])]);
    refused("Add", vec![], &[&list(&[i64::MAX]), &list(&[1])]);
    refused("Add", vec![], &[&a, &list(&[1])]);
    refused("Add", vec![], &[&floats(&[2], &[0.0; 2]), &floats(&[3], &[0.0; 3])]);
    assert_floats(&one("Sigmoid", vec![], &[&floats(&[1], &[0.0])]), &[1], &[0.5]);
    refused("HardSwish", vec![], &[&a]);
    assert_eq!(one("HardSwish", vec![], &[&unknown(&[2])]).shape, [2]);
    assert_ints(&one("Neg", vec![], &[&list(&[3])]), &[1], &[-3]);
}

#[test]
fn casts_truncate_and_floats_stay_as_they_are() {
    let to = |kind: i32| vec![("to", int(i64::from(kind)))];
    assert_ints(&one("Cast", to(data_type::INT64), &[&floats(&[2], &[1.9, -1.9])]), &[2], &[1, -1]);
    assert_floats(&one("Cast", to(data_type::FLOAT), &[&list(&[3])]), &[1], &[3.0]);
    assert_floats(&one("Cast", to(data_type::FLOAT16), &[&floats(&[1], &[0.1])]), &[1], &[0.1]);
    assert_ints(&one("Cast", to(data_type::BOOL), &[&list(&[3, 0])]), &[2], &[1, 0]);
    refused("Cast", to(data_type::UINT8), &[&list(&[3])]);
}

#[test]
fn products_and_softmax_are_those_of_matrices() {
    let a = floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b = floats(&[1, 2, 1], &[5.0, 6.0]);
    assert_floats(&one("MatMul", vec![], &[&a, &b]), &[1, 2, 1], &[17.0, 39.0]);
    refused("MatMul", vec![], &[&b, &a]);
    refused("MatMul", vec![], &[&a, &floats(&[2], &[0.0; 2])]);
    let value = floats(&[2, 2], &[0.0, 3_f32.ln(), 0.0, 0.0]);
    let along = |axis| one("Softmax", axis_of(axis), &[&value]).as_floats().unwrap().to_vec();
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(&along(-1), &[0.25, 0.75, 0.5, 0.5]));
    assert!(near(&along(0), &[0.5, 0.75, 0.5, 0.25]));
    // Before opset 13 the axes from `axis` on are one.
    assert!(run_in(12, "Softmax", axis_of(0), &[Some(&value)], 1).is_err());
    assert!(run_in(12, "Softmax", axis_of(1), &[Some(&value)], 1).is_ok());
}

#[test]
fn windows_slide_as_onnx_says() {
    let conv = |attributes, kernel: &[usize], map: &[usize]| {
        one("Conv", attributes, &[&unknown(map), &unknown(kernel)]).shape
    };
    let pair = |name, value| (name, Attr::Ints(vec![value; 2]));
    let pads = ("pads", Attr::Ints(vec![1; 4]));
    assert_eq!(conv(vec![pads, pair("strides", 2)], &[8, 3, 3, 3], &[1, 3, 7, 8]), [1, 8, 4, 4]);
    assert_eq!(conv(vec![pair("dilations", 2)], &[8, 3, 3, 3], &[1, 3, 7, 8]), [1, 8, 3, 4]);
    assert_eq!(conv(vec![("group", int(3))], &[6, 1, 1, 1], &[1, 3, 2, 2]), [1, 6, 2, 2]);
    let same = vec![("auto_pad", Attr::Text(b"SAME_UPPER")), pair("strides", 2)];
    assert_eq!(conv(same, &[8, 3, 3, 3], &[1, 3, 7, 8]), [1, 8, 4, 4]);
    let map = unknown(&[1, 3, 7, 8]);
    for (attributes, kernel) in [
        (vec![], [8, 4, 3, 3]),
        (vec![("group", int(0))], [8, 3, 3, 3]),
        (vec![], [8, 3, 9, 9]),
        (vec![pair("strides", 0)], [8, 3, 3, 3]),
        (vec![pair("kernel_shape", 5)], [8, 3, 3, 3]),
        (vec![("pads", Attr::Ints(vec![-1; 4]))], [8, 3, 3, 3]),
        (vec![("strides", Attr::Ints(vec![1]))], [8, 3, 3, 3]),
    ] {
        refused("Conv", attributes, &[&map, &unknown(&kernel)]);
    }
    let pool = vec![pair("kernel_shape", 3), pair("strides", 2)];
    assert_eq!(one("MaxPool", pool, &[&map]).shape, [1, 3, 3, 3]);
    refused("MaxPool", vec![], &[&map]);
}

#[test]
fn the_sum_over_bins_is_the_one_convolution_computed() {
    let bins = floats(&[1, 2, 1, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    let counts = floats(&[1, 2, 1, 1], &[0.0, 1.0]);
    assert_floats(&one("Conv", vec![], &[&bins, &counts]), &[1, 1, 1, 3], &[10.0, 20.0, 30.0]);
    refused("Conv", vec![], &[&bins, &floats(&[2, 2, 1, 1], &[0.0; 4])]);
}

#[test]
fn resizes_that_repeat_are_told_from_those_that_do_not() {
    let map = unknown(&[1, 2, 5, 4]);
    let scales = |factor| floats(&[4], &[1.0, 1.0, factor, factor]);
    let resize = |factor: f32, coordinates: &'static str, rounding: &'static str| {
        let attributes = vec![
            ("coordinate_transformation_mode", Attr::Text(coordinates.as_bytes())),
            ("nearest_mode", Attr::Text(rounding.as_bytes())),
        ];
        run("Resize", attributes, &[Some(&map), None, Some(&scales(factor))], 1)
            .map(|values| values[0].shape.clone())
    };
    assert_eq!(resize(2.0, "asymmetric", "floor").unwrap(), [1, 2, 10, 8]);
    assert_eq!(resize(3.0, "half_pixel", "round_prefer_floor").unwrap(), [1, 2, 15, 12]);
    assert!(resize(3.0, "asymmetric", "floor").is_ok());
    assert!(resize(2.0, "asymmetric", "round_prefer_floor").is_ok());
    assert!(resize(3.0, "asymmetric", "round_prefer_floor").is_err());
    assert!(resize(2.0, "align_corners", "floor").is_err());
    assert!(resize(1.5, "asymmetric", "floor").is_err());
    assert!(resize(0.0, "asymmetric", "floor").is_err());
    assert!(resize(f32::NAN, "asymmetric", "floor").is_err());
}

#[test]
fn operators_of_other_domains_are_refused() {
    let node = Node { op: "Add", domain: "com.example", ..Node::default() };
    let mut work = Work::new(1);
    let outcome = evaluate(&mut Call { node: &node, inputs: vec![], opset: 17, work: &mut work });
    assert!(outcome.unwrap_err().to_string().contains("com.example"));
}

const OPS: [&str; 35] = [
    "Split",
    "Constant",
    "ConstantOfShape",
    "Range",
    "Shape",
    "Identity",
    "Cast",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Concat",
    "Expand",
    "Gather",
    "Add",
    "Div",
    "Pow",
    "Min",
    "Equal",
    "Sum",
    "Where",
    "Sigmoid",
    "Neg",
    "Floor",
    "PRelu",
    "Not",
    "MatMul",
    "Softmax",
    "Conv",
    "BatchNormalization",
    "MaxPool",
    "Resize",
    "TopK",
];

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![-3_i64..6, any::<i64>()];
    let shape = proptest::collection::vec(0_usize..4, 0..5);
    (shape, 0..3, proptest::collection::vec(number, 256)).prop_map(|(shape, kind, numbers)| {
        let count = shape.iter().product();
        match kind {
            0 => Value::unknown(shape),
            1 => Value::ints(shape, numbers[..count].to_vec()),
            _ => Value::floats(shape, numbers[..count].iter().map(|&number| number as f32).collect()),
        }
    })
}

fn any_attribute() -> impl Strategy<Value = (&'static str, Attr<'static>)> {
    let names = [
        "axis",
        "axes",
        "perm",
        "to",
        "split",
        "pads",
        "strides",
        "kernel_shape",
        "dilations",
        "group",
        "start",
        "end",
        "mode",
        "auto_pad",
        "num_outputs",
        "value_ints",
        "value_float",
    ];
    let number = || prop_oneof![-3_i64..6, any::<i64>()];
    let value = (number(), proptest::collection::vec(number(), 0..5), 0..3);
    (proptest::sample::select(names.to_vec()), value).prop_map(|(name, (number, numbers, kind))| {
        let attribute = match kind {
            0 => Attr::Int(number),
            1 => Attr::Ints(numbers),
            _ => Attr::Text(b"SAME_LOWER"),
        };
        (name, attribute)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_computed_has_as_many_elements_as_its_shape(
        op in proptest::sample::select(OPS.to_vec()),
        inputs in proptest::collection::vec(proptest::option::weighted(0.9, any_value()), 0..5),
        attributes in proptest::collection::vec(any_attribute(), 0..4),
        outputs in 1_usize..4,
    ) {
        let inputs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
        for value in run(op, attributes, &inputs, outputs).unwrap_or_default() {
            let count = elements(&value.shape).unwrap();
            match &value.data {
                Data::Unknown => {}
                Data::Floats(data) => prop_assert_eq!(data.len(), count),
                Data::Ints(data) => prop_assert_eq!(data.len(), count),
            }
        }
    }
}
