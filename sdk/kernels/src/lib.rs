//! Convolution networks on the CPU, as fast as the processor's vector units allow: a network given as data becomes a plan of
//! kernels over one piece of memory. Knows no model format and no engine.
//!
//! ```
//! use kernels::{Activation, Convolution, Given, Isa, Network, Operator, Plan, Shape, Taken, Windows};
//!
//! let mut network = Network::new();
//! let image = network.input(Shape { channels: 1, height: 2, width: 2 });
//! let double = Convolution {
//!     weights: vec![2.0],
//!     bias: vec![-3.0],
//!     windows: Windows::POINT,
//!     activation: Activation::Relu,
//! };
//! let doubled = network.node(Operator::Convolution(double), &[image])?;
//! network.output(doubled);
//!
//! let plan = Plan::new(network, Isa::detect(), std::num::NonZero::<usize>::MIN)?;
//! let mut result = [0.0; 4];
//! let image = Given::Real(&[1.0, 2.0, 3.0, 4.0]);
//! plan.run(&mut plan.workspace(), &[image], [Taken::Real(&mut result)]);
//! assert_eq!(result, [0.0, 1.0, 3.0, 5.0]);
//! # Ok::<(), kernels::Unsupported>(())
//! ```

mod aligned;
mod layout;
mod network;
mod plan;
pub mod reference;
mod simd;
mod team;

pub use layout::{Kind, Shape};
pub use network::{
    Activation, Codes, Convolution, Ending, IntegerConvolution, Network, Node, Operator, Quant, Value,
    Windows,
};
pub use plan::{Given, Plan, Taken, Workspace};
pub use simd::Isa;
pub use simd::peak::peak_flops;

/// Something that the kernels cannot compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kernel for {what}")]
pub struct Unsupported {
    what: String,
}

impl Unsupported {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}
