//! A network of convolutions as data: what [`crate::Plan`] runs. Images have no batch axis; weights and images of callers
//! lie plane by plane (OIHW, CHW). Images hold floats or stored values of int8 models.

mod int8;

use std::ops::Range;

use crate::Unsupported;
use crate::layout::{Kind, Shape};

pub use int8::{Codes, Ending, IntegerConvolution, Quant};

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// x
    None,
    /// max(x, 0)
    Relu,
    /// x where it is positive, else x times this slope.
    Leaky(f32),
    /// x / (1 + e⁻ˣ)
    Silu,
}

impl Activation {
    /// The activation of `x`.
    pub fn of(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
            Self::Leaky(slope) => x.max(0.0) + f64::from(slope) * x.min(0.0),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// Windows over an image, without dilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from a window to the next.
    pub stride: [usize; 2],
    /// Rows and columns above and left of the image.
    pub pad: [usize; 2],
    /// Rows and columns below and right of it.
    pub pad_end: [usize; 2],
}

/// A convolution without groups or dilation, over an image with zeros around.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Output channels × input channels × rows × columns.
    pub weights: Vec<f32>,
    /// One an output channel.
    pub bias: Vec<f32>,
    /// Where it stands over its input.
    pub windows: Windows,
    /// What follows the sums.
    pub activation: Activation,
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// A convolution; a second input is added behind its activation.
    Convolution(Convolution),
    /// The sum of two images of a size.
    Add,
    /// An activation alone.
    Activate(Activation),
    /// Images of a size, channels after channels.
    Concat,
    /// The maximum of each window.
    MaxPool(Windows),
    /// Nearest neighbor by these factors.
    Upsample {
        /// For rows and columns.
        factors: [usize; 2],
    },
    /// Some of the channels.
    Slice(Range<usize>),
    /// A convolution of stored values.
    Integer(IntegerConvolution),
    /// Reals become stored values: `round(x · factor) + zero_point`, halves to even, saturated.
    Quantize {
        /// Steps of a real value of 1.
        factor: f32,
        /// What 0 is stored as.
        zero_point: i8,
    },
    /// A function of stored values, indexed by their bits.
    Map(Box<[i8; 256]>),
    /// The sum of two stored images of a size.
    AddStored {
        /// What each means.
        from: [Quant; 2],
        /// What the sum is stored as.
        to: Quant,
    },
    /// Stored values become reals.
    Dequantize(Quant),
    /// A plan's own first step: an image of the caller enters, quantized where that is stated, and pixels of `factor` rows
    /// and columns become channels, in the order channel, row, column.
    Enter {
        /// Rows and columns.
        factor: usize,
        /// Factor and zero point of a [`Operator::Quantize`].
        quantize: Option<(f32, i8)>,
        /// What stands beyond the last pixel.
        border: i8,
    },
}

/// An image in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) usize);

/// An operator, what it reads and what it makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it computes.
    pub operator: Operator,
    /// What it reads.
    pub inputs: Vec<Value>,
    /// What it makes.
    pub output: Value,
}

/// Operators in an order in which they can run.
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) inputs: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Value>,
}

impl Network {
    /// A network of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An image of floats that callers give.
    pub fn input(&mut self, shape: Shape) -> Value {
        self.input_of(shape, Kind::Real)
    }

    /// An image that callers give.
    pub fn input_of(&mut self, shape: Shape, kind: Kind) -> Value {
        let value = self.value(shape, kind);
        self.inputs.push(value);
        value
    }

    /// Adds a node.
    ///
    /// # Errors
    /// [`Unsupported`] where `operator` cannot take images of these sizes.
    pub fn node(&mut self, operator: Operator, inputs: &[Value]) -> Result<Value, Unsupported> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let kinds: Vec<Kind> = inputs.iter().map(|&input| self.kind(input)).collect();
        let output = self.value(operator.output(&shapes)?, operator.kind(&kinds)?);
        self.nodes.push(Node { operator, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    /// Makes `value` one that callers get.
    pub fn output(&mut self, value: Value) {
        self.outputs.push(value);
    }

    /// The size of `value`.
    pub fn shape(&self, value: Value) -> Shape {
        self.shapes[value.0]
    }

    /// What `value` holds.
    pub fn kind(&self, value: Value) -> Kind {
        self.kinds[value.0]
    }

    /// Sizes of the images that callers give, and what they hold.
    pub fn input_forms(&self) -> Vec<(Shape, Kind)> {
        self.inputs.iter().map(|&value| (self.shape(value), self.kind(value))).collect()
    }

    /// Sizes of the images that callers get, and what they hold.
    pub fn output_forms(&self) -> Vec<(Shape, Kind)> {
        self.outputs.iter().map(|&value| (self.shape(value), self.kind(value))).collect()
    }

    /// Multiplications and additions of a run, counted as textbooks do: without what is saved.
    pub fn flops(&self) -> usize {
        let convolutions = self.nodes.iter().filter_map(|node| match &node.operator {
            Operator::Convolution(conv) => Some(2 * conv.weights.len() * self.shape(node.output).pixels()),
            Operator::Integer(conv) => Some(2 * conv.weights.len() * self.shape(node.output).pixels()),
            _ => None,
        });
        convolutions.sum()
    }

    pub(crate) fn value(&mut self, shape: Shape, kind: Kind) -> Value {
        self.shapes.push(shape);
        self.kinds.push(kind);
        Value(self.shapes.len() - 1)
    }
}

impl Operator {
    /// The size of the output for inputs of these sizes.
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Unsupported> {
        let first = *inputs.first().ok_or_else(|| Unsupported::new("a node without inputs"))?;
        let shape = match self {
            Self::Convolution(conv) => conv.windows.output(first, conv.bias.len(), conv.weights.len())?,
            Self::Integer(conv) => conv.windows.output(first, conv.channels()?, conv.weights.len())?,
            Self::Add
            | Self::AddStored { .. }
            | Self::Activate(_)
            | Self::Quantize { .. }
            | Self::Map(_)
            | Self::Dequantize(_) => first,
            Self::Slice(channels) => Shape { channels: channels.len(), ..first },
            Self::Concat => Shape { channels: inputs.iter().map(|shape| shape.channels).sum(), ..first },
            Self::MaxPool(windows) => {
                let [height, width] = windows.over(first)?;
                Shape { height, width, ..first }
            }
            Self::Upsample { factors: [rows, columns] } => {
                Shape { height: first.height * rows, width: first.width * columns, ..first }
            }
            Self::Enter { factor, .. } => Shape {
                channels: first.channels * factor * factor,
                height: first.height.div_ceil(*factor),
                width: first.width.div_ceil(*factor),
            },
        };
        let fits = match self {
            Self::Convolution(_) => inputs.len() == 1 || inputs[1..] == [shape],
            Self::Add | Self::AddStored { .. } => inputs == [first, first],
            Self::Slice(channels) => inputs.len() == 1 && channels.end <= first.channels,
            Self::Concat => {
                inputs.iter().all(|input| [input.height, input.width] == [first.height, first.width])
            }
            _ => inputs.len() == 1,
        };
        if !fits || shape.is_empty() {
            return Err(Unsupported::new(format!("{} of {inputs:?}", self.name())));
        }
        Ok(shape)
    }

    /// What the output holds, for inputs that hold these.
    fn kind(&self, inputs: &[Kind]) -> Result<Kind, Unsupported> {
        use Kind::{Real, Stored};
        let first = inputs.first().copied().unwrap_or(Real);
        let (takes, gives) = match self {
            Self::Convolution(_) | Self::Add | Self::Activate(_) => (Real, Real),
            Self::Concat | Self::MaxPool(_) | Self::Upsample { .. } | Self::Slice(_) => (first, first),
            Self::Integer(conv) => (Stored, conv.ending.kind()),
            Self::Quantize { .. } => (Real, Stored),
            Self::Map(_) | Self::AddStored { .. } => (Stored, Stored),
            Self::Dequantize(_) => (Stored, Real),
            Self::Enter { quantize: None, .. } => (first, first),
            Self::Enter { quantize: Some(_), .. } => (Real, Stored),
        };
        if inputs.iter().any(|&kind| kind != takes) {
            return Err(Unsupported::new(format!("{} of {inputs:?}", self.name())));
        }
        Ok(gives)
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Convolution(_) | Self::Integer(_) => "convolution",
            Self::Add | Self::AddStored { .. } => "sum",
            Self::Activate(_) => "activation",
            Self::Concat => "concatenation",
            Self::MaxPool(_) => "max pooling",
            Self::Upsample { .. } => "enlargement",
            Self::Slice(_) => "slice",
            Self::Quantize { .. } => "quantization",
            Self::Map(_) => "table",
            Self::Dequantize(_) => "dequantization",
            Self::Enter { .. } => "entry",
        }
    }
}

impl Windows {
    /// One output for each pixel.
    pub const POINT: Self = Self { kernel: [1; 2], stride: [1; 2], pad: [0; 2], pad_end: [0; 2] };

    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The rows, or columns for `axis` 1, of the window of output `at` that lie inside of an image of `side` of them.
    pub(crate) fn inside(&self, axis: usize, at: usize, side: usize) -> Range<usize> {
        let (kernel, pad, first) = (self.kernel[axis], self.pad[axis], at * self.stride[axis]);
        let end = (side + pad).saturating_sub(first).min(kernel);
        pad.saturating_sub(first).min(end)..end
    }

    /// The size of a convolution's output.
    fn output(&self, input: Shape, channels: usize, weights: usize) -> Result<Shape, Unsupported> {
        let [height, width] = self.over(input)?;
        if channels * input.channels * self.taps() != weights {
            return Err(Unsupported::new(format!("{weights} weights for {input:?}")));
        }
        Ok(Shape { channels, height, width })
    }

    /// Rows and columns of windows. Each has to meet the image.
    fn over(&self, image: Shape) -> Result<[usize; 2], Unsupported> {
        let Self { kernel, stride, pad, pad_end } = *self;
        let sides = [image.height, image.width];
        let mut outputs = [0; 2];
        for axis in 0..2 {
            let inside = pad[axis] < kernel[axis] && pad_end[axis] < kernel[axis] && stride[axis] > 0;
            let free = (sides[axis] + pad[axis] + pad_end[axis]).checked_sub(kernel[axis]);
            let free = free.filter(|_| inside);
            let free =
                free.ok_or_else(|| Unsupported::new(format!("windows of {kernel:?} over {image:?}")))?;
            outputs[axis] = free / stride[axis] + 1;
        }
        Ok(outputs)
    }
}
