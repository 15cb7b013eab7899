//! Convolutions of stored values whose results stay real: tract and our kernels give what `int8` states, bit for bit, for
//! random shapes, strides, paddings, dilations, groups, scales and zero points.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod writer;

use std::num::NonZero;

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use repedge::int8;
use repedge::int8::reference::{ConvShape, Kernel, Planes, conv_real};
use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use writer::{Writer, attribute, ints};

/// ONNX's `TensorProto.DataType.INT8` and `INT32`.
const INT8: i32 = 3;
const INT32: i32 = 6;

/// An image of stored values, and a convolution over it.
#[derive(Debug)]
struct Case {
    input: Planes,
    shape: ConvShape,
    values: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
}

impl Case {
    fn random([channels, height, width]: [usize; 3], quant: Quant, shape: ConvShape, seed: u64) -> Self {
        let mut bytes = Bytes(seed);
        let taps = channels / shape.groups * shape.kernel * shape.kernel;
        Self {
            input: Planes::fill([channels, height, width], quant, |_, _, _| bytes.code()),
            shape,
            values: (0..shape.cout * taps).map(|_| bytes.code().max(-127)).collect(),
            scales: (0..shape.cout).map(|_| 0.01 + f32::from(bytes.code()) * 5e-5).collect(),
            bias: (0..shape.cout).map(|_| i32::from(bytes.code()) * 77).collect(),
        }
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel { values: &self.values, scales: &self.scales, bias: &self.bias }
    }

    /// A model that stores the image and leaves the convolution's result, of shape `result`, as it is; what it takes in
    /// and gives.
    fn onnx(&self, result: [usize; 3]) -> (Vec<u8>, [TensorSpec; 2]) {
        let ConvShape { cout, kernel, stride, pad, dilation, groups } = self.shape;
        let (channels, quant) = (self.input.shape[0], self.input.quant);
        let mut writer = Writer::default();
        let zero_point = i8::try_from(quant.zero_point).unwrap().cast_unsigned();
        let (scale, zero_point) =
            (writer.constant(&[], &[quant.scale]), writer.tensor(&[], INT8, vec![zero_point]));
        let stored = writer.node("QuantizeLinear", &["images", &scale, &zero_point], vec![]);
        let image = writer.node("DequantizeLinear", &[&stored, &scale, &zero_point], vec![]);
        let values = self.values.iter().map(|value| value.cast_unsigned()).collect();
        let values = writer.tensor(&[cout, channels / groups, kernel, kernel], INT8, values);
        let weights = along_channels(&mut writer, &values, (INT8, 1), &self.scales);
        let bias = self.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let bias = writer.tensor(&[cout], INT32, bias);
        let products: Vec<f32> = self.scales.iter().map(|scale| scale * quant.scale).collect();
        let bias = along_channels(&mut writer, &bias, (INT32, 4), &products);
        let attributes = vec![
            ints("kernel_shape", &[kernel; 2]),
            ints("strides", &[stride; 2]),
            ints("dilations", &[dilation; 2]),
            ints("pads", &[pad; 4]),
            int("group", groups),
        ];
        let name = writer.node("Conv", &[&image, &weights, &bias], attributes);
        let specs = [spec("images", self.input.shape), spec(&name, result)];
        (writer.write(&specs[0], &specs[1..]), specs)
    }

    /// The image as floats.
    fn image(&self, input: &TensorSpec) -> Tensor {
        let reals = self.input.data.iter().map(|&code| int8::dequantize(code, self.input.quant)).collect();
        Tensor { data: TensorData::F32(reals), ..Tensor::zeroed(input) }
    }
}

/// The real values of `stored`, whose elements are of type `kind.0` and `kind.1` bytes and are scaled by channel.
fn along_channels(writer: &mut Writer, stored: &str, kind: (i32, usize), scales: &[f32]) -> String {
    let zeros = writer.tensor(&[scales.len()], kind.0, vec![0; kind.1 * scales.len()]);
    let scales = writer.constant(&[scales.len()], scales);
    writer.node("DequantizeLinear", &[stored, &scales, &zeros], vec![int("axis", 0)])
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: i64::try_from(value).unwrap(), ..attribute(name, AttributeType::Int) }
}

fn spec(name: &str, [channels, height, width]: [usize; 3]) -> TensorSpec {
    let shape = [1, channels, height, width];
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// Bytes that look random.
struct Bytes(u64);

impl Bytes {
    /// By the congruential generator of Knuth's MMIX.
    fn code(&mut self) -> i8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0].cast_signed()
    }
}

fn quants() -> impl Strategy<Value = Quant> {
    (0.005_f32..0.1, int8::MIN..=int8::MAX).prop_map(|(scale, zero_point)| Quant { scale, zero_point })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn real_results_are_those_of_the_reference(
        (groups, cin, cout, kernel) in (1..3_usize, 1..9_usize, 1..12_usize, 1..4_usize),
        (stride, pad, dilation) in (1..3_usize, 0..2_usize, 1..3_usize),
        side_px in [6..20_usize, 6..20],
        quant in quants(),
        seed in any::<u64>(),
    ) {
        let shape = ConvShape { cout: cout * groups, kernel, stride, pad, dilation, groups };
        let case = Case::random([cin * groups, side_px[0], side_px[1]], quant, shape, seed);
        let expected = conv_real(&case.input, &shape, &case.kernel()).unwrap();
        let (onnx, [input, output]) = case.onnx(expected.shape);
        for kernels in [Kernels::Engine, Kernels::Ours] {
            let options = CpuOptions { threads: NonZero::new(2).unwrap(), kernels };
            let outputs = vec![output.clone()];
            let mut session = TractSession::from_onnx_with(&onnx, input.clone(), outputs, options).unwrap();
            prop_assert_eq!(session.arithmetic().int8_convs.len(), 1, "the convolution is in int8");
            let mut found = [Tensor::zeroed(&output)];
            session.run(&case.image(&input), &mut found).unwrap();
            prop_assert_eq!(&found[0].data, &TensorData::F32(expected.data.clone()), "{:?}", kernels);
        }
    }
}
