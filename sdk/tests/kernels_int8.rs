//! Our kernels on int8 models: operators give what `int8` states, models what tract alone gives, both bit for bit.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod writer;

use std::num::NonZero;

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use kernels::{
    Codes, Ending, Given, IntegerConvolution, Isa, Kind, Network, Operator, Plan, Shape, Taken, Windows,
};
use proptest::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use repedge::int8::reference::{self, ConvShape, Kernel, Planes};
use repedge::int8::{self, SumTable};
use tract_onnx::pb::attribute_proto::AttributeType;
use writer::{Writer, attribute, ints, text};

const SIDE: usize = 48;

/// Bytes that look random.
fn bytes(seed: u64, count: usize) -> Vec<i8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[6].cast_signed()
    };
    (0..count).map(step).collect()
}

/// What one operator of our kernels makes of stored images.
fn run(operator: Operator, inputs: &[&Planes]) -> Vec<i8> {
    let mut network = Network::new();
    let mut values = Vec::new();
    for input in inputs {
        let [channels, height, width] = input.shape;
        values.push(network.input_of(Shape { channels, height, width }, Kind::Stored));
    }
    let output = network.node(operator, &values).unwrap();
    network.output(output);
    let mut result = vec![0; network.shape(output).len()];
    let given: Vec<Given<'_>> = inputs.iter().map(|input| Given::Stored(&input.data)).collect();
    let plan = Plan::new(network, Isa::detect(), NonZero::new(2).unwrap()).unwrap();
    plan.run(&mut plan.workspace(), &given, [Taken::Stored(&mut result)]);
    result
}

fn planes(shape: [usize; 3], quant: Quant, seed: u64) -> Planes {
    Planes { shape, quant, data: bytes(seed, shape.iter().product()) }
}

fn quants() -> impl Strategy<Value = Quant> {
    (0.005_f32..0.1, -128..=127).prop_map(|(scale, zero_point)| Quant { scale, zero_point })
}

fn code(zero_point: i32) -> i8 {
    i8::try_from(zero_point).unwrap()
}

fn ours(quant: Quant) -> kernels::Quant {
    kernels::Quant { scale: quant.scale, zero_point: quant.zero_point }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutions_are_those_of_the_reference(
        shape in [1_usize..40, 3..30, 3..30],
        cout in 1_usize..40,
        side in prop_oneof![Just(1_usize), Just(3), Just(6)],
        stride in 1_usize..=2,
        pad in 0_usize..=2,
        quants in [quants(), quants()],
        activated in any::<bool>(),
        seed in 0..u64::MAX / 2,
    ) {
        let [from, to] = quants;
        prop_assume!(pad < side && shape[1] + 2 * pad >= side && shape[2] + 2 * pad >= side);
        let input = planes(shape, from, seed);
        let values: Vec<i8> = bytes(seed + 1, cout * shape[0] * side * side).iter().map(|w| (*w).max(-127)).collect();
        let scales: Vec<f32> = bytes(seed + 2, cout).iter().map(|s| 0.002 + f32::from(*s) * 1e-5).collect();
        let bias: Vec<i32> = bytes(seed + 3, cout).iter().map(|b| i32::from(*b) * 50).collect();
        let conv = ConvShape { cout, kernel: side, stride, pad, dilation: 1, groups: 1 };
        let kernel = Kernel { values: &values, scales: &scales, bias: &bias };
        let table = SumTable::new(to, int8::silu);
        let (expected, unit, codes) = if activated {
            let codes = Codes::Table { first: table.first(), entries: table.entries().to_vec() };
            (reference::conv_activated(&input, &conv, &kernel, &table).unwrap(), table.unit(), codes)
        } else {
            let codes = Codes::Shifted { zero_point: code(to.zero_point) };
            (reference::conv(&input, &conv, &kernel, to).unwrap(), to.scale, codes)
        };
        let multipliers = scales.iter().map(|&scale| int8::multiplier(from.scale, scale, unit)).collect();
        let operator = Operator::Integer(IntegerConvolution {
            weights: values.clone(),
            windows: Windows { kernel: [side; 2], stride: [stride; 2], pad: [pad; 2], pad_end: [pad; 2] },
            zero_point: code(from.zero_point),
            ending: Ending::Stored { bias: bias.clone(), multipliers, codes },
        });
        prop_assert_eq!(run(operator, &[&input]), expected.data);
    }

    #[test]
    fn other_operators_are_those_of_the_reference(
        blocks in 1_usize..3,
        side in [5_usize..16, 5..16],
        quants in [quants(), quants(), quants()],
        kernel in 1_usize..=5,
        stride in 1_usize..=2,
        seed in 0..u64::MAX / 2,
    ) {
        let shape = [16 * blocks, side[0], side[1]];
        let (a, b) = (planes(shape, quants[0], seed), planes(shape, quants[1], seed + 1));
        let add = Operator::AddStored { from: [ours(quants[0]), ours(quants[1])], to: ours(quants[2]) };
        prop_assert_eq!(run(add, &[&a, &b]), reference::add(&[&a, &b], quants[2]).unwrap().data);
        let table = int8::table(quants[0], quants[2], int8::silu);
        prop_assert_eq!(run(Operator::Map(Box::new(table)), &[&a]), reference::map(&a, &table, quants[2]).data);
        let pad = kernel / 2;
        let windows = Windows { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 2], pad_end: [pad; 2] };
        let pooled = reference::max_pool(&a, kernel, stride, pad).unwrap();
        prop_assert_eq!(run(Operator::MaxPool(windows), &[&a]), pooled.data);
        let same = Planes { quant: quants[0], ..b.clone() };
        let both = reference::concat(&[&a, &same], quants[0]).unwrap();
        prop_assert_eq!(run(Operator::Concat, &[&a, &same]), both.data);
        prop_assert_eq!(run(Operator::Upsample { factors: [2; 2] }, &[&a]), reference::upsample(&a, 2).unwrap().data);
        let channels = 16 * (blocks - 1)..16 * blocks;
        let part = reference::slice(&a, channels.clone()).unwrap();
        prop_assert_eq!(run(Operator::Slice(channels), &[&a]), part.data);
    }
}

const INT8: i32 = 3;
const INT32: i32 = 6;

/// Writes QDQ models.
#[derive(Default)]
struct Qdq {
    writer: Writer,
    seed: u64,
}

impl Qdq {
    fn scalars(&mut self, quant: Quant) -> [String; 2] {
        let scale = self.writer.constant(&[], &[quant.scale]);
        [scale, self.writer.tensor(&[], INT8, vec![code(quant.zero_point).cast_unsigned()])]
    }

    /// Quantizes `real` and gives its real values again.
    fn store(&mut self, real: &str, quant: Quant) -> String {
        let [scale, zero_point] = self.scalars(quant);
        let stored = self.writer.node("QuantizeLinear", &[real, &scale, &zero_point], vec![]);
        self.writer.node("DequantizeLinear", &[&stored, &scale, &zero_point], vec![])
    }

    fn conv(
        &mut self,
        input: &str,
        from: Quant,
        [inputs, outputs]: [usize; 2],
        [kernel, stride, pad]: [usize; 3],
    ) -> String {
        self.seed += 1;
        let count = inputs * outputs * kernel * kernel;
        let weights =
            bytes(self.seed, count).iter().map(|weight| (*weight).max(-127).cast_unsigned()).collect();
        let scales: Vec<f32> = bytes(self.seed + 100, outputs)
            .iter()
            .map(|part| {
                1.4 / (count as f32 / outputs as f32).sqrt() / 74.0 * (1.0 + f32::from(*part) / 300.0)
            })
            .collect();
        let bias: Vec<u8> = bytes(self.seed + 200, outputs)
            .iter()
            .flat_map(|&bias| (i32::from(bias) * 20).to_le_bytes())
            .collect();
        let zeros = self.writer.tensor(&[outputs], INT8, vec![0; outputs]);
        let weights = self.writer.tensor(&[outputs, inputs, kernel, kernel], INT8, weights);
        let weight_scales = self.writer.constant(&[outputs], &scales);
        let axis = || pb_axis(0);
        let weights = self.writer.node("DequantizeLinear", &[&weights, &weight_scales, &zeros], vec![axis()]);
        let products: Vec<f32> = scales.iter().map(|scale| scale * from.scale).collect();
        let products = self.writer.constant(&[outputs], &products);
        let bias = self.writer.tensor(&[outputs], INT32, bias);
        let no_shift = self.writer.tensor(&[outputs], INT32, vec![0; 4 * outputs]);
        let bias = self.writer.node("DequantizeLinear", &[&bias, &products, &no_shift], vec![axis()]);
        let windows =
            vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), ints("pads", &[pad; 4])];
        self.writer.node("Conv", &[input, &weights, &bias], windows)
    }

    /// 3×3 of `channels` to as many and SiLU, all in floats.
    fn float_conv(&mut self, input: &str, channels: usize) -> String {
        let random = |seed, count: usize, most: f32| -> Vec<f32> {
            bytes(seed, count).iter().map(|byte| f32::from(*byte) / 128.0 * most).collect()
        };
        let weights = random(31, channels * channels * 9, 0.1);
        let weights = self.writer.constant(&[channels, channels, 3, 3], &weights);
        let bias = self.writer.constant(&[channels], &random(32, channels, 0.5));
        let windows = vec![ints("kernel_shape", &[3; 2]), ints("strides", &[1; 2]), ints("pads", &[1; 4])];
        let sums = self.writer.node("Conv", &[input, &weights, &bias], windows);
        self.writer.silu(&sums)
    }
}

fn pb_axis(axis: i64) -> tract_onnx::pb::AttributeProto {
    tract_onnx::pb::AttributeProto { i: axis, ..attribute("axis", AttributeType::Int) }
}

fn spec(name: &str, channels: usize, side: usize) -> TensorSpec {
    let shape = [1, channels, side, side];
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

fn image() -> TensorSpec {
    spec("images", 3, SIDE)
}

/// What stands in the middle of a model.
#[derive(Debug, Clone, Copy)]
enum Middle {
    Nothing,
    /// An operator, not ours perhaps. Not a Softmax: between stored values tract makes a table of it, as if it were a function
    /// of each alone.
    Function(&'static str),
    /// A convolution that stays in floats.
    FloatConv,
}

/// Every operator of an int8 YOLO, with `middle` in its middle: the last output is stored.
fn model(middle: Middle) -> (Vec<u8>, Vec<TensorSpec>) {
    let mut qdq = Qdq::default();
    let pixels = Quant { scale: 1.0 / 255.0, zero_point: -128 };
    let quant = |scale, zero_point| Quant { scale, zero_point };
    let stem_quant = quant(0.02, -114);
    let entered = qdq.store("images", pixels);
    let stem = qdq.conv(&entered, pixels, [3, 16], [6, 2, 2]);
    let stem = qdq.writer.silu(&stem);
    let stem = qdq.store(&stem, stem_quant);
    let down = qdq.conv(&stem, stem_quant, [16, 32], [3, 2, 1]);
    let down = qdq.writer.node("Relu", &[&down], vec![]);
    let down_quant = quant(0.015, -128);
    let mut down = qdq.store(&down, down_quant);
    let changed = match middle {
        Middle::Nothing => None,
        Middle::Function(name) => Some(qdq.writer.node(name, &[&down], vec![])),
        Middle::FloatConv => Some(qdq.float_conv(&down, 32)),
    };
    if let Some(changed) = changed {
        down = qdq.store(&changed, down_quant);
    }
    let inner = qdq.conv(&down, down_quant, [32, 32], [3, 1, 1]);
    let inner = qdq.writer.node("LeakyRelu", &[&inner], vec![]);
    let inner_quant = quant(0.017, -100);
    let inner = qdq.store(&inner, inner_quant);
    let sum = qdq.writer.node("Add", &[&down, &inner], vec![]);
    let sum_quant = quant(0.03, -120);
    let sum = qdq.store(&sum, sum_quant);
    let pads = vec![ints("kernel_shape", &[5; 2]), ints("strides", &[1; 2]), ints("pads", &[2; 4])];
    let pool = qdq.writer.node("MaxPool", &[&sum], pads);
    let pool = qdq.store(&pool, sum_quant);
    // Of another scale than the sum, so that one of them is rescaled.
    let both = qdq.writer.node("Concat", &[&pool, &inner, &sum], vec![pb_axis(1)]);
    let both = qdq.store(&both, sum_quant);
    let small = qdq.conv(&both, sum_quant, [96, 24], [1, 1, 0]);
    let small_quant = quant(0.04, 5);
    let small = qdq.store(&small, small_quant);
    let scales = qdq.writer.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let nearest = vec![
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    let large = qdq.writer.node("Resize", &[&small, "", &scales], nearest);
    let large = qdq.store(&large, small_quant);
    let fine = qdq.conv(&large, small_quant, [24, 21], [1, 1, 0]);
    let coarse = qdq.conv(&sum, sum_quant, [32, 21], [1, 1, 0]);
    let coarse = qdq.store(&coarse, quant(0.05, 3));
    let stored = TensorSpec { dtype: DType::I8, quant: Some(quant(0.05, 3)), ..spec(&coarse, 21, SIDE / 4) };
    let outputs = vec![spec(&fine, 21, SIDE / 2), stored];
    (qdq.writer.write(&image(), &outputs), outputs)
}

fn session(middle: Middle, kernels: Kernels, threads: usize) -> TractSession {
    let (onnx, specs) = model(middle);
    let options = CpuOptions { kernels, threads: NonZero::new(threads).unwrap() };
    TractSession::from_onnx_with(&onnx, image(), specs, options).unwrap()
}

fn outputs(mut session: TractSession) -> Vec<TensorData> {
    let mut input = Tensor::zeroed(session.input());
    let TensorData::F32(values) = &mut input.data else { unreachable!() };
    let codes = bytes(11, values.len());
    values.iter_mut().zip(codes).for_each(|(value, code)| *value = f32::from(code.cast_unsigned()) / 255.0);
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&input, &mut outputs).unwrap();
    let first = outputs.clone();
    session.run(&input, &mut outputs).unwrap();
    assert_eq!(first, outputs, "a second run gives the same numbers");
    outputs.into_iter().map(|output| output.data).collect()
}

/// Whether different numbers come out, so that equal ones say something.
fn vary(output: &TensorData) -> bool {
    match output {
        TensorData::F32(values) => values.iter().any(|value| (value - values[0]).abs() > 0.1),
        TensorData::I8(values) => values.iter().any(|value| value.abs_diff(values[0]) > 4),
        TensorData::U8(_) => false,
    }
}

#[test]
fn models_give_what_tract_alone_gives_bit_for_bit() {
    for middle in [Middle::Nothing, Middle::Function("Tanh"), Middle::Function("Exp")] {
        let engine = outputs(session(middle, Kernels::Engine, 1));
        assert!(engine.iter().all(vary), "{middle:?}");
        for threads in [1, 3] {
            assert!(
                outputs(session(middle, Kernels::Ours, threads)) == engine,
                "{middle:?}, {threads} threads"
            );
        }
    }
}

/// Most by which real outputs may differ where a float between integers was rounded otherwise, and a stored value by a step.
const APART: f32 = 0.1;
/// Most of the values that may differ for that.
const APART_SHARE: f64 = 0.01;

#[test]
fn a_convolution_in_floats_is_tracts_but_for_rounding() {
    let engine = outputs(session(Middle::FloatConv, Kernels::Engine, 1));
    assert!(engine.iter().all(vary));
    for threads in [1, 3] {
        let ours = outputs(session(Middle::FloatConv, Kernels::Ours, threads));
        for (ours, engine) in ours.iter().zip(&engine) {
            let apart = differences(ours, engine);
            assert!(apart.iter().all(|&apart| apart <= APART), "{threads} threads: {apart:?}");
            let differ = apart.iter().filter(|&&apart| apart > 0.0).count();
            assert!((differ as f64) <= APART_SHARE * apart.len() as f64, "{differ} of {}", apart.len());
        }
    }
}

/// By how much each value of two outputs differs; stored ones in steps of the last output's scale.
fn differences(a: &TensorData, b: &TensorData) -> Vec<f32> {
    match (a, b) {
        (TensorData::F32(a), TensorData::F32(b)) => a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect(),
        (TensorData::I8(a), TensorData::I8(b)) => {
            a.iter().zip(b).map(|(a, b)| 0.05 * f32::from(a.abs_diff(*b))).collect()
        }
        _ => panic!("outputs of another kind"),
    }
}

/// What the operators of a model are called that have run.
fn operators(middle: Middle) -> Vec<String> {
    let mut session = session(middle, Kernels::Ours, 1);
    let image = Tensor::zeroed(session.input());
    session.profile(&image).unwrap().into_iter().map(|operator| operator.name).collect()
}

#[test]
fn a_model_that_is_ours_runs_without_tract() {
    let names = operators(Middle::Nothing);
    // Winograd's, or its taps where that takes fewer instructions, as with `sdot`.
    let mut ours = names.iter().filter(|name| name.starts_with("int8 Winograd") || name.contains("9 taps"));
    assert!(names[0].starts_with("int8 pack") && ours.next().is_some(), "{names:?}");
    let tables = operators(Middle::Function("Tanh"));
    assert!(tables[0].starts_with("int8 pack"), "a function of stored values is a table: {tables:?}");
    let mixed = operators(Middle::FloatConv);
    let floats = mixed.iter().any(|name| name.starts_with("Winograd") || name.starts_with("direct"));
    assert!(mixed[0].starts_with("int8 pack") && floats, "{mixed:?}");
}

#[test]
fn what_is_not_ours_stays_tracts_between_regions() {
    let names = operators(Middle::Function("Exp"));
    let regions = names.iter().filter(|name| name.ends_with(".region")).count();
    assert!(regions == 2, "the image, two regions and what is between them: {names:?}");
}
