//! The stand-in's int8 against the integer reference, bit for bit: two convolutions of random shapes, strides, paddings,
//! groups, scales and zero points, by way of the backend.

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use prost::Message;
use repedge::backend::rknn::RknnSession;
use repedge::int8::reference::{ConvShape, Kernel, Planes, conv};
use repedge::int8::{self, MIN};
use stand_in::{Element, Input, Model, Output, Scenario};
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use crate::npu;
use crate::tensors::run;

const PIXELS: Quant = Quant { scale: 1.0 / 255.0, zero_point: MIN };

/// A convolution with its weights and the scale of what it gives.
#[derive(Debug)]
struct Layer {
    cin: usize,
    shape: ConvShape,
    values: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
    to: Quant,
}

/// An image, a convolution that gives it as many channels as the next wants, and that one.
#[derive(Debug)]
struct Case {
    side_px: usize,
    pixels: Vec<u8>,
    layers: [Layer; 2],
}

impl Layer {
    fn random(values: &mut Values, cin: usize, shape: ConvShape) -> Self {
        let taps = cin / shape.groups * shape.kernel * shape.kernel;
        Self {
            cin,
            shape,
            values: (0..shape.cout * taps).map(|_| values.code().max(-127)).collect(),
            scales: (0..shape.cout).map(|_| values.between(1e-3, 2e-2)).collect(),
            bias: (0..shape.cout).map(|_| i32::from(values.code()) * 40).collect(),
            to: Quant { scale: values.between(5e-3, 8e-2), zero_point: values.code().into() },
        }
    }

    /// The nodes between what was stored as `input` and what will be as `output`, and their constants.
    fn print(&self, graph: &mut pb::GraphProto, (input, from): (&str, Quant), output: &str) {
        let name = |part: &str| format!("{output}.{part}");
        let ConvShape { cout, kernel, stride, pad, dilation, groups } = self.shape;
        let shape = [cout, self.cin / groups, kernel, kernel];
        let values = self.values.iter().map(|value| value.cast_unsigned()).collect();
        let bias = self.bias.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bias_scales: Vec<f32> = self.scales.iter().map(|scale| scale * from.scale).collect();
        graph.initializer.extend([
            constant(&name("w"), DataType::Int8, &shape, values),
            constant(&name("w.s"), DataType::Float, &[cout], floats(&self.scales)),
            constant(&name("w.z"), DataType::Int8, &[cout], vec![0; cout]),
            constant(&name("b"), DataType::Int32, &[cout], bias),
            constant(&name("b.s"), DataType::Float, &[cout], floats(&bias_scales)),
            constant(&name("b.z"), DataType::Int32, &[cout], vec![0; 4 * cout]),
        ]);
        dequantize(graph, input, &name("d"));
        for part in ["w", "b"] {
            let inputs = [name(part), name(&format!("{part}.s")), name(&format!("{part}.z"))];
            node(graph, "DequantizeLinear", inputs.to_vec(), &name(&format!("{part}.d")), vec![axis()]);
        }
        let attributes = vec![
            ints("kernel_shape", &[kernel; 2]),
            ints("strides", &[stride; 2]),
            ints("dilations", &[dilation; 2]),
            ints("pads", &[pad; 4]),
            pb::AttributeProto {
                name: "group".into(),
                r#type: pb::attribute_proto::AttributeType::Int as i32,
                i: i64::try_from(groups).unwrap(),
                ..Default::default()
            },
        ];
        node(graph, "Conv", vec![name("d"), name("w.d"), name("b.d")], &name("f"), attributes);
        quantize(graph, &name("f"), output, self.to);
    }

    fn reference(&self, input: &Planes) -> Planes {
        let kernel = Kernel { values: &self.values, scales: &self.scales, bias: &self.bias };
        conv(input, &self.shape, &kernel, self.to).unwrap()
    }
}

impl Case {
    fn random(side_px: usize, cin: usize, shape: ConvShape, seed: u64) -> Self {
        let mut values = Values(seed);
        let first = ConvShape { cout: cin, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1 };
        Self {
            side_px,
            pixels: (0..3 * side_px * side_px).map(|_| values.code().cast_unsigned()).collect(),
            layers: [Layer::random(&mut values, 3, first), Layer::random(&mut values, cin, shape)],
        }
    }

    /// What the reference gives.
    fn expected(&self) -> Planes {
        let side = self.side_px;
        let stored =
            |c: usize, y: usize, x: usize| (self.pixels[(y * side + x) * 3 + c] ^ 0x80).cast_signed();
        let image = Planes::fill([3, side, side], PIXELS, stored);
        self.layers.iter().fold(image, |input, layer| layer.reference(&input))
    }

    fn onnx(&self, output: &TensorSpec) -> Vec<u8> {
        let input =
            TensorSpec { dtype: DType::F32, layout: Layout::Nchw, shape: self.shape(), ..npu::input() };
        let mut graph = pb::GraphProto {
            name: "integer".into(),
            input: vec![crate::common::value(&input)],
            output: vec![crate::common::value(output)],
            ..Default::default()
        };
        quantize(&mut graph, &input.name, "image", PIXELS);
        self.layers[0].print(&mut graph, ("image", PIXELS), "first");
        self.layers[1].print(&mut graph, ("first", self.layers[0].to), "second");
        dequantize(&mut graph, "second", &output.name);
        let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
        let model = pb::ModelProto {
            ir_version: 7,
            opset_import: vec![opset],
            graph: Some(graph),
            ..Default::default()
        };
        model.encode_to_vec()
    }

    /// Batch, channels, height, width of the image.
    fn shape(&self) -> [usize; 4] {
        [1, 3, self.side_px, self.side_px]
    }

    /// What the stand-in gives, as real values.
    fn found(&self, name: &str, [channels, height, width]: [usize; 3]) -> Vec<f32> {
        let quant = self.layers[1].to;
        let shape = [1, channels, height, width];
        let output = TensorSpec {
            name: "output".into(),
            dtype: DType::I8,
            layout: Layout::Nchw,
            shape,
            quant: Some(quant),
        };
        let scenario = Scenario::new(
            name,
            Input { name: "images".into(), shape: self.shape(), element: Element::I8(PIXELS), row_stride: 0 },
            vec![Output { name: "output".into(), shape, element: Element::I8(quant), order: npu::BLOCKS }],
        );
        let file = Model { scenario, onnx: self.onnx(&output), recordings: Vec::new() }.pack();
        let input = TensorSpec { shape: [1, self.side_px, self.side_px, 3], ..npu::input() };
        let mut session = RknnSession::from_rknn(file, input.clone(), vec![output], &npu::options()).unwrap();
        let pixels = Tensor { data: TensorData::U8(self.pixels.clone()), ..Tensor::zeroed(&input) };
        run(&mut session, &pixels).unwrap().concat()
    }
}

fn quantize(graph: &mut pb::GraphProto, real: &str, stored: &str, quant: Quant) {
    let [scale, zero_point] = ["s", "z"].map(|part| format!("{stored}.{part}"));
    let code = i8::try_from(quant.zero_point).unwrap().cast_unsigned();
    graph.initializer.extend([
        constant(&scale, DataType::Float, &[], floats(&[quant.scale])),
        constant(&zero_point, DataType::Int8, &[], vec![code]),
    ]);
    node(graph, "QuantizeLinear", vec![real.into(), scale, zero_point], stored, Vec::new());
}

fn dequantize(graph: &mut pb::GraphProto, stored: &str, real: &str) {
    let inputs = vec![stored.into(), format!("{stored}.s"), format!("{stored}.z")];
    node(graph, "DequantizeLinear", inputs, real, Vec::new());
}

fn node(
    graph: &mut pb::GraphProto,
    op: &str,
    input: Vec<String>,
    output: &str,
    attribute: Vec<pb::AttributeProto>,
) {
    let (name, op_type) = (output.to_owned(), op.to_owned());
    let output = vec![name.clone()];
    graph.node.push(pb::NodeProto { name, op_type, input, output, attribute, ..Default::default() });
}

fn constant(name: &str, data_type: DataType, dims: &[usize], raw_data: Vec<u8>) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        data_type: data_type as i32,
        dims: dims.iter().map(|&dim| i64::try_from(dim).unwrap()).collect(),
        raw_data,
        ..Default::default()
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn ints(name: &str, values: &[usize]) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ints: values.iter().map(|&value| i64::try_from(value).unwrap()).collect(),
        ..Default::default()
    }
}

/// Scales stand one for each output channel.
fn axis() -> pb::AttributeProto {
    pb::AttributeProto {
        name: "axis".into(),
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        i: 0,
        ..Default::default()
    }
}

/// Numbers that follow from a seed, by the congruential generator of Knuth's MMIX: they are only to differ.
struct Values(u64);

impl Values {
    /// Any stored value.
    fn code(&mut self) -> i8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0].cast_signed()
    }

    /// A value from `low` to `high`.
    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (f32::from(self.code()) + 128.0) / 255.0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_stand_in_computes_the_reference(
        (groups, cin, cout, kernel, stride, pad, dilation) in
            (1..4_usize, 1..5_usize, 1..7_usize, 1..4_usize, 1..4_usize, 0..3_usize, 1..3_usize),
        side_px in prop_oneof![Just(16_usize), Just(24)],
        seed in any::<u64>(),
    ) {
        let shape = ConvShape { cout: cout * groups, kernel, stride, pad, dilation, groups };
        let case = Case::random(side_px, cin * groups, shape, seed);
        let expected = case.expected();
        let found = case.found(&format!("integer {seed} {shape:?}"), expected.shape);
        let reals: Vec<f32> =
            expected.data.iter().map(|&stored| int8::dequantize(stored, expected.quant)).collect();
        prop_assert_eq!(found, reals);
    }
}
