//! A float function of one tensor, element by element: `Sigmoid` and `Mul` of the same values, for example. Evaluated in
//! f64 for each value that tensor can have, it becomes a table.

use std::collections::HashMap;

use artifact::Quant;
use tract_onnx::pb::NodeProto;

use super::index::{Index, Stored};
use crate::int8::{mish, sigmoid, silu, softplus};

/// Most operators of an expression, of which as many are steps; activations take five at most.
const MAX_STEPS: usize = 16;

/// Where an operand comes from.
#[derive(Clone, Copy)]
enum Operand {
    /// The tensor's real value.
    Source,
    /// A scalar constant.
    Constant(f64),
    /// The result of an earlier step.
    Step(usize),
}

struct Step {
    function: Function,
    /// The second is the first again where the function takes one.
    operands: [Operand; 2],
}

#[derive(Clone, Copy)]
enum Function {
    Sigmoid,
    Tanh,
    Softplus,
    Relu,
    LeakyRelu(f64),
    HardSwish,
    Mish,
    Silu,
    Add,
    Mul,
}

/// The tensor that an expression is a function of.
#[derive(Clone, Copy)]
enum Source<'a> {
    Stored(&'a str, Quant),
    Convolution(&'a NodeProto),
}

/// Operators over one tensor, in the order they are computed.
pub(super) struct Expression<'a> {
    source: Source<'a>,
    steps: Vec<Step>,
    result: Operand,
}

impl<'a> Expression<'a> {
    /// The expression that makes `real`; none where it reads more than one tensor that is stored or the result of a
    /// convolution, or an operator is unknown.
    pub fn of(index: &Index<'a>, real: &str) -> Option<Self> {
        let mut builder =
            Builder { index, source: None, steps: Vec::new(), entered: 0, known: HashMap::new() };
        let result = builder.operand(real)?;
        Some(Self { source: builder.source?, steps: builder.steps, result })
    }

    /// The stored tensor it reads, if it is one.
    pub fn stored(&self) -> Option<Stored<'a>> {
        match self.source {
            Source::Stored(name, quant) => Some(Stored { name, quant }),
            Source::Convolution(_) => None,
        }
    }

    /// The convolution whose result it reads, if it is one.
    pub fn convolution(&self) -> Option<&'a NodeProto> {
        match self.source {
            Source::Stored(..) => None,
            Source::Convolution(conv) => Some(conv),
        }
    }

    /// Its value where the tensor's real value is `x`. Allocates nothing: tables ask it some hundred thousand times a model.
    pub fn value(&self, x: f64) -> f64 {
        let mut results = [0.0; MAX_STEPS];
        for (number, step) in self.steps.iter().enumerate() {
            results[number] = step.function.value(step.operands.map(|operand| operand.value(x, &results)));
        }
        self.result.value(x, &results)
    }
}

impl Operand {
    fn value(self, x: f64, results: &[f64]) -> f64 {
        match self {
            Self::Source => x,
            Self::Constant(value) => value,
            Self::Step(step) => results[step],
        }
    }
}

impl Function {
    /// The function of an ONNX operator, with the number of its operands.
    fn of(node: &NodeProto) -> Option<(Self, usize)> {
        Some(match node.op_type.as_str() {
            "Sigmoid" => (Self::Sigmoid, 1),
            "Tanh" => (Self::Tanh, 1),
            "Softplus" => (Self::Softplus, 1),
            "Relu" => (Self::Relu, 1),
            "LeakyRelu" => (Self::LeakyRelu(alpha(node)), 1),
            "HardSwish" => (Self::HardSwish, 1),
            "Mish" => (Self::Mish, 1),
            "Swish" if node.attribute.is_empty() => (Self::Silu, 1),
            "Add" => (Self::Add, 2),
            "Mul" => (Self::Mul, 2),
            _ => return None,
        })
    }

    fn value(self, [x, other]: [f64; 2]) -> f64 {
        match self {
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Softplus => softplus(x),
            Self::Relu => x.max(0.0),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Mish => mish(x),
            Self::Silu => silu(x),
            Self::Add => x + other,
            Self::Mul => x * other,
        }
    }
}

/// ONNX's default slope of LeakyRelu is 0.01. The attribute is f32, and the product is formed from that.
fn alpha(node: &NodeProto) -> f64 {
    let alpha = node.attribute.iter().find(|attribute| attribute.name == "alpha");
    alpha.map_or(f64::from(0.01_f32), |attribute| f64::from(attribute.f))
}

struct Builder<'a, 'i> {
    index: &'i Index<'a>,
    source: Option<Source<'a>>,
    steps: Vec<Step>,
    /// Operators met so far: counted on the way in, so that a cycle or a long chain ends.
    entered: usize,
    known: HashMap<String, Operand>,
}

impl<'a> Builder<'a, '_> {
    fn operand(&mut self, name: &str) -> Option<Operand> {
        if let Some(&known) = self.known.get(name) {
            return Some(known);
        }
        let operand = if let Some(stored) = self.index.dequantized(name) {
            self.source(Source::Stored(stored.name, stored.quant))?
        } else if let Some(conv) = self.index.maker(name).filter(|node| node.op_type == "Conv") {
            self.source(Source::Convolution(conv))?
        } else if let Some(value) = self.index.scalar(name) {
            Operand::Constant(f64::from(value))
        } else {
            self.step(name)?
        };
        self.known.insert(name.to_owned(), operand);
        Some(operand)
    }

    /// The source, unless there is another already.
    fn source(&mut self, found: Source<'a>) -> Option<Operand> {
        let same = match (*self.source.get_or_insert(found), found) {
            (Source::Stored(name, quant), Source::Stored(other, other_quant)) => {
                (name, quant) == (other, other_quant)
            }
            (Source::Convolution(conv), Source::Convolution(other)) => std::ptr::eq(conv, other),
            _ => false,
        };
        same.then_some(Operand::Source)
    }

    fn step(&mut self, name: &str) -> Option<Operand> {
        let node = self.index.maker(name)?;
        let (function, operands) = Function::of(node)?;
        self.entered += 1;
        if node.input.len() != operands || self.entered > MAX_STEPS {
            return None;
        }
        let operands = node.input.iter().map(|input| self.operand(input)).collect::<Option<Vec<_>>>()?;
        let (first, last) = (*operands.first()?, *operands.last()?);
        self.steps.push(Step { function, operands: [first, last] });
        Some(Operand::Step(self.steps.len() - 1))
    }
}
