//! A network of convolutions as data: what [`crate::Plan`] runs. Images have no batch axis; weights and images of callers
//! lie plane by plane (OIHW, CHW).

use crate::Unsupported;
use crate::layout::Shape;

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

/// A convolution without groups or dilation.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Output channels × input channels × rows × columns.
    pub weights: Vec<f32>,
    /// One an output channel.
    pub bias: Vec<f32>,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from an output to the next.
    pub stride: [usize; 2],
    /// Zeros above and left.
    pub pad: [usize; 2],
    /// Zeros below and right.
    pub pad_end: [usize; 2],
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
    MaxPool {
        /// Rows and columns of the window.
        kernel: [usize; 2],
        /// Rows and columns from a window to the next.
        stride: [usize; 2],
        /// Rows and columns above and left of the image.
        pad: [usize; 2],
        /// Rows and columns below and right of it.
        pad_end: [usize; 2],
    },
    /// Nearest neighbor by these factors.
    Upsample {
        /// For rows and columns.
        factors: [usize; 2],
    },
    /// Pixels of `factor` rows and columns become channels, in the order channel, row, column; a plan's own first step.
    SpaceToDepth {
        /// Rows and columns.
        factor: usize,
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
    pub(crate) inputs: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Value>,
}

impl Network {
    /// A network of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An image that callers give.
    pub fn input(&mut self, shape: Shape) -> Value {
        let value = self.value(shape);
        self.inputs.push(value);
        value
    }

    /// Adds a node.
    ///
    /// # Errors
    /// [`Unsupported`] where `operator` cannot take images of these sizes.
    pub fn node(&mut self, operator: Operator, inputs: &[Value]) -> Result<Value, Unsupported> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let output = self.value(operator.output(&shapes)?);
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

    /// Sizes of the images that callers give.
    pub fn input_shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(|&value| self.shape(value)).collect()
    }

    /// Sizes of the images that callers get.
    pub fn output_shapes(&self) -> Vec<Shape> {
        self.outputs.iter().map(|&value| self.shape(value)).collect()
    }

    /// Multiplications and additions of a run, counted as textbooks do: without what is saved.
    pub fn flops(&self) -> usize {
        let convolutions = self.nodes.iter().filter_map(|node| match &node.operator {
            Operator::Convolution(conv) => Some(2 * conv.weights.len() * self.shape(node.output).pixels()),
            _ => None,
        });
        convolutions.sum()
    }

    pub(crate) fn value(&mut self, shape: Shape) -> Value {
        self.shapes.push(shape);
        Value(self.shapes.len() - 1)
    }
}

impl Operator {
    /// The size of the output for inputs of these sizes.
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Unsupported> {
        let first = *inputs.first().ok_or_else(|| Unsupported::new("a node without inputs"))?;
        let shape = match self {
            Self::Convolution(conv) => conv.output(first)?,
            Self::Add | Self::Activate(_) => first,
            Self::Concat => Shape { channels: inputs.iter().map(|shape| shape.channels).sum(), ..first },
            Self::MaxPool { kernel, stride, pad, pad_end } => {
                let [height, width] = windows(first, *kernel, *stride, *pad, *pad_end)?;
                Shape { height, width, ..first }
            }
            Self::Upsample { factors: [rows, columns] } => {
                Shape { height: first.height * rows, width: first.width * columns, ..first }
            }
            Self::SpaceToDepth { factor } => Shape {
                channels: first.channels * factor * factor,
                height: first.height.div_ceil(*factor),
                width: first.width.div_ceil(*factor),
            },
        };
        let fits = match self {
            Self::Convolution(_) => inputs.len() == 1 || inputs[1..] == [shape],
            Self::Add => inputs == [first, first],
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

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Convolution(_) => "convolution",
            Self::Add => "sum",
            Self::Activate(_) => "activation",
            Self::Concat => "concatenation",
            Self::MaxPool { .. } => "max pooling",
            Self::Upsample { .. } => "enlargement",
            Self::SpaceToDepth { .. } => "space to depth",
        }
    }
}

impl Convolution {
    fn output(&self, input: Shape) -> Result<Shape, Unsupported> {
        let [height, width] = windows(input, self.kernel, self.stride, self.pad, self.pad_end)?;
        let channels = self.bias.len();
        if channels * input.channels * self.kernel[0] * self.kernel[1] != self.weights.len() {
            return Err(Unsupported::new(format!("{} weights for {input:?}", self.weights.len())));
        }
        Ok(Shape { channels, height, width })
    }
}

/// Rows and columns of windows. Each has to meet the image.
fn windows(
    image: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    pad_end: [usize; 2],
) -> Result<[usize; 2], Unsupported> {
    let sides = [image.height, image.width];
    let mut outputs = [0; 2];
    for axis in 0..2 {
        let inside = pad[axis] < kernel[axis] && pad_end[axis] < kernel[axis] && stride[axis] > 0;
        let free = (sides[axis] + pad[axis] + pad_end[axis]).checked_sub(kernel[axis]);
        let free = free.filter(|_| inside);
        let free = free.ok_or_else(|| Unsupported::new(format!("windows of {kernel:?} over {image:?}")))?;
        outputs[axis] = free / stride[axis] + 1;
    }
    Ok(outputs)
}
