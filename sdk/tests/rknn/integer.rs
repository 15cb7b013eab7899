//! The stand-in's int8 against the integer reference, bit for bit, by way of the backend: two convolutions of random shapes,
//! strides, paddings, groups, scales and zero points, and a chain of every other operator.

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use prost::Message;
use repedge::backend::rknn::RknnSession;
use repedge::int8::reference::{
    ConvShape, Kernel, Planes, add, concat, conv, conv_activated, max_pool, upsample,
};
use repedge::int8::{self, MIN, SumTable};
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
    picture: Picture,
    layers: [Layer; 2],
}

/// An image of bytes.
#[derive(Debug)]
struct Picture {
    /// Height and width.
    size_px: [usize; 2],
    pixels: Vec<u8>,
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
            to: values.quant(),
        }
    }

    /// The nodes between what was stored as `input` and what will be as `output`, and their constants.
    fn print(&self, graph: &mut pb::GraphProto, input: (&str, Quant), output: &str) {
        let real = self.print_real(graph, input, output);
        quantize(graph, &real, output, self.to);
    }

    /// As [`Layer::print`], without the last node; returns the name of the real values.
    fn print_real(&self, graph: &mut pb::GraphProto, (input, from): (&str, Quant), output: &str) -> String {
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
        name("f")
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel { values: &self.values, scales: &self.scales, bias: &self.bias }
    }

    fn reference(&self, input: &Planes) -> Planes {
        conv(input, &self.shape, &self.kernel(), self.to).unwrap()
    }
}

impl Picture {
    fn random(values: &mut Values, size_px: [usize; 2]) -> Self {
        let pixels = (0..3 * size_px[0] * size_px[1]).map(|_| values.code().cast_unsigned()).collect();
        Self { size_px, pixels }
    }

    /// As the model stores it.
    fn planes(&self) -> Planes {
        let [height, width] = self.size_px;
        let stored =
            |c: usize, y: usize, x: usize| (self.pixels[(y * width + x) * 3 + c] ^ 0x80).cast_signed();
        Planes::fill([3, height, width], PIXELS, stored)
    }

    /// Batch, channels, height, width.
    fn shape(&self) -> [usize; 4] {
        [1, 3, self.size_px[0], self.size_px[1]]
    }

    /// What the stand-in gives as real values for it, of a scenario called `name` whose nodes are those that `print` adds to the
    /// graph between what is stored as `image` and what is stored as `last`, which has shape and scale of `like`.
    fn computed(
        &self,
        name: &str,
        like: &Planes,
        last: &str,
        print: impl FnOnce(&mut pb::GraphProto),
    ) -> Vec<f32> {
        let [channels, height, width] = like.shape;
        let shape = [1, channels, height, width];
        let output = TensorSpec {
            name: "output".into(),
            dtype: DType::I8,
            layout: Layout::Nchw,
            shape,
            quant: Some(like.quant),
        };
        let scenario = Scenario::new(
            name,
            Input { name: "images".into(), shape: self.shape(), element: Element::I8(PIXELS), row_stride: 0 },
            vec![Output {
                name: "output".into(),
                shape,
                element: Element::I8(like.quant),
                order: npu::BLOCKS,
            }],
        );
        let onnx = self.onnx(&output, last, print);
        let file = Model { scenario, onnx, recordings: Vec::new() }.pack();
        let [height, width] = self.size_px;
        let input = TensorSpec { shape: [1, height, width, 3], ..npu::input() };
        let mut session = RknnSession::from_rknn(file, input.clone(), vec![output], &npu::options()).unwrap();
        let pixels = Tensor { data: TensorData::U8(self.pixels.clone()), ..Tensor::zeroed(&input) };
        run(&mut session, &pixels).unwrap().concat()
    }

    fn onnx(&self, output: &TensorSpec, last: &str, print: impl FnOnce(&mut pb::GraphProto)) -> Vec<u8> {
        let input =
            TensorSpec { dtype: DType::F32, layout: Layout::Nchw, shape: self.shape(), ..npu::input() };
        let mut graph = pb::GraphProto {
            name: "integer".into(),
            input: vec![crate::common::value(&input)],
            output: vec![crate::common::value(output)],
            ..Default::default()
        };
        quantize(&mut graph, &input.name, "image", PIXELS);
        print(&mut graph);
        dequantize(&mut graph, last, &output.name);
        let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
        let model = pb::ModelProto {
            ir_version: 7,
            opset_import: vec![opset],
            graph: Some(graph),
            ..Default::default()
        };
        model.encode_to_vec()
    }
}

impl Case {
    fn random(size_px: [usize; 2], cin: usize, shape: ConvShape, seed: u64) -> Self {
        let mut values = Values(seed);
        let first = ConvShape { cout: cin, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1 };
        Self {
            picture: Picture::random(&mut values, size_px),
            layers: [Layer::random(&mut values, 3, first), Layer::random(&mut values, cin, shape)],
        }
    }

    /// What the reference gives.
    fn expected(&self) -> Planes {
        self.layers.iter().fold(self.picture.planes(), |input, layer| layer.reference(&input))
    }

    /// What the stand-in gives, as real values.
    fn found(&self, name: &str, expected: &Planes) -> Vec<f32> {
        self.picture.computed(name, expected, "second", |graph| {
            self.layers[0].print(graph, ("image", PIXELS), "first");
            self.layers[1].print(graph, ("first", self.layers[0].to), "second");
        })
    }
}

/// A convolution, one with SiLU behind it, both joined in either order, the sum of that, its largest values, and those
/// enlarged: stored between any two.
struct Chain {
    picture: Picture,
    first: Layer,
    second: Layer,
    /// How the two concatenations are stored, and what is behind them.
    joined: [Quant; 2],
    summed: Quant,
}

impl Chain {
    fn random(size_px: [usize; 2], seed: u64) -> Self {
        let mut values = Values(seed);
        let shape = ConvShape { cout: 6, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 1 };
        let picture = Picture::random(&mut values, size_px);
        let [first, second] = [3, 6].map(|cin| Layer::random(&mut values, cin, shape));
        let joined = [(); 2].map(|()| values.quant());
        Self { picture, first, second, joined, summed: values.quant() }
    }

    fn expected(&self) -> Planes {
        let first = self.first.reference(&self.picture.planes());
        let Layer { shape, to, .. } = &self.second;
        let table = SumTable::new(*to, int8::silu);
        let second = conv_activated(&first, shape, &self.second.kernel(), &table).unwrap();
        let [one, other] = self.joined;
        let joined = [concat(&[&first, &second], one).unwrap(), concat(&[&second, &first], other).unwrap()];
        let summed = add(&[&joined[0], &joined[1]], self.summed).unwrap();
        upsample(&max_pool(&summed, 3, 2, 1).unwrap(), 2).unwrap()
    }

    fn print(&self, graph: &mut pb::GraphProto) {
        self.first.print(graph, ("image", PIXELS), "first");
        let sums = self.second.print_real(graph, ("first", self.first.to), "second");
        node(graph, "Sigmoid", vec![sums.clone()], "second.part", Vec::new());
        node(graph, "Mul", vec![sums, "second.part".into()], "second.real", Vec::new());
        quantize(graph, "second.real", "second", self.second.to);
        for (name, inputs, to) in
            [("one", ["first", "second"], self.joined[0]), ("other", ["second", "first"], self.joined[1])]
        {
            let axis = pb::AttributeProto { i: 1, ..axis() };
            between(graph, ("Concat", vec![axis]), &inputs, (name, to));
        }
        between(graph, ("Add", Vec::new()), &["one", "other"], ("sum", self.summed));
        let window = vec![ints("kernel_shape", &[3; 2]), ints("strides", &[2; 2]), ints("pads", &[1; 4])];
        between(graph, ("MaxPool", window), &["sum"], ("pool", self.summed));
        let scales = constant("up.scales", DataType::Float, &[4], floats(&[1.0, 1.0, 2.0, 2.0]));
        graph.initializer.push(scales);
        dequantize(graph, "pool", "up.pool");
        // The empty name is the region of interest, which this mode does not use.
        let inputs = vec!["up.pool".into(), String::new(), "up.scales".into()];
        let attributes = vec![
            text("coordinate_transformation_mode", "asymmetric"),
            text("mode", "nearest"),
            text("nearest_mode", "floor"),
        ];
        node(graph, "Resize", inputs, "up.real", attributes);
        quantize(graph, "up.real", "up", self.summed);
    }
}

/// An operator between stored values: its inputs dequantized, each for it alone, and what it gives stored.
fn between(
    graph: &mut pb::GraphProto,
    (op, attributes): (&str, Vec<pb::AttributeProto>),
    inputs: &[&str],
    (output, to): (&str, Quant),
) {
    let reals: Vec<String> = inputs.iter().map(|input| format!("{output}.{input}")).collect();
    for (input, real) in inputs.iter().zip(&reals) {
        dequantize(graph, input, real);
    }
    let real = format!("{output}.real");
    node(graph, op, reals, &real, attributes);
    quantize(graph, &real, output, to);
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

fn text(name: &str, value: &str) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: pb::attribute_proto::AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
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

    /// Any zero point, and a scale that values of convolutions do not leave altogether.
    fn quant(&mut self) -> Quant {
        Quant { scale: self.between(5e-3, 8e-2), zero_point: self.code().into() }
    }
}

/// Height and width, alike or not.
fn sizes() -> impl Strategy<Value = [usize; 2]> {
    prop::sample::select(vec![[16, 16], [24, 24], [16, 24], [24, 16]])
}

fn reals(planes: &Planes) -> Vec<f32> {
    planes.data.iter().map(|&stored| int8::dequantize(stored, planes.quant)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_stand_in_computes_the_reference(
        (groups, cin, cout, kernel, stride, pad, dilation) in
            (1..4_usize, 1..5_usize, 1..7_usize, 1..4_usize, 1..4_usize, 0..3_usize, 1..3_usize),
        size_px in sizes(),
        seed in any::<u64>(),
    ) {
        let shape = ConvShape { cout: cout * groups, kernel, stride, pad, dilation, groups };
        let case = Case::random(size_px, cin * groups, shape, seed);
        let expected = case.expected();
        let found = case.found(&format!("integer {seed} {size_px:?} {shape:?}"), &expected);
        prop_assert_eq!(found, reals(&expected));
    }

    #[test]
    fn the_stand_in_computes_the_reference_of_every_operator(size_px in sizes(), seed in any::<u64>()) {
        let chain = Chain::random(size_px, seed);
        let expected = chain.expected();
        let name = format!("chain {seed} {size_px:?}");
        let found = chain.picture.computed(&name, &expected, "up", |graph| chain.print(graph));
        prop_assert_eq!(found, reals(&expected));
    }
}
