//! How large a model is and how much arithmetic an image costs. Counts, never times.

use serde::Serialize;

use super::graph::{Graph, Op};
use crate::Result;

/// Size and cost of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Complexity {
    /// Trained values: kernels, biases, γ and β.
    pub parameters: usize,
    /// Floating-point operations of all convolutions for one image, a multiply-add counting as two.
    pub flops: u64,
    /// Nodes that compute something.
    pub layers: usize,
}

/// Counts `graph` for square images of `imgsz` pixels.
///
/// # Errors
/// [`crate::Error::Model`] when the graph is broken or does not fit that size.
pub fn count(graph: &Graph, imgsz: usize) -> Result<Complexity> {
    let shapes = graph.shapes(imgsz, imgsz)?;
    let parameters =
        graph.weight_specs().iter().filter(|spec| spec.role.is_parameter()).map(super::WeightSpec::len).sum();
    let flops = graph.nodes.iter().zip(&shapes).map(|(node, &[channels, height, width])| match node.op {
        Op::Conv(conv) => {
            let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
            2 * (taps as u64) * (channels as u64) * (height as u64) * (width as u64)
        }
        _ => 0,
    });
    Ok(Complexity { parameters, flops: flops.sum(), layers: graph.nodes.len() - 1 })
}
