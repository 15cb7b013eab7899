//! How large a model is and how much arithmetic an image costs. Counts, never times.

use serde::Serialize;

use super::graph::{Attention, Graph, Op};
use super::validate::Shape;
use crate::Result;

/// Size and cost of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Complexity {
    /// Trained values: kernels, biases, γ and β.
    pub parameters: usize,
    /// Floating-point operations of all convolutions and attention products for one image, a multiply-add counting as two.
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
    let flops = graph.nodes.iter().zip(&shapes).map(|(node, &shape)| node.op.flops(shape));
    Ok(Complexity { parameters, flops: flops.sum(), layers: graph.nodes.len() - 1 })
}

impl Op {
    /// Floating-point operations of a convolution or attention whose result is `shape`, a multiply-add counting as two;
    /// other operators count as free.
    pub fn flops(&self, [channels, height, width]: Shape) -> u64 {
        match *self {
            Self::Conv(conv) => {
                let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
                2 * (taps as u64) * (channels as u64) * (height as u64) * (width as u64)
            }
            Self::Attention(Attention { heads, key_dim, head_dim }) => {
                let pairs = (height as u64 * width as u64).pow(2);
                2 * pairs * (heads * (key_dim + head_dim)) as u64
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Conv;

    #[test]
    fn three_node_graph_is_counted_by_hand() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 4 }, &[]);
        let conv = Conv { cin: 4, cout: 6, kernel: 3, stride: 2, pad: 1, dilation: 1, groups: 2, bias: true };
        let conv = graph.push("conv", Op::Conv(conv), &[image]);
        let bn = graph.push("bn", Op::BatchNorm { channels: 6, eps: 1e-3 }, &[conv]);
        graph.outputs = vec![bn];
        let complexity = count(&graph, 8).unwrap();
        assert_eq!(complexity.parameters, 6 * 2 * 9 + 6 + 2 * 6);
        assert_eq!(complexity.flops, 2 * (6 * 2 * 9) * (4 * 4));
        assert_eq!(complexity.layers, 2);
    }

    #[test]
    fn attention_costs_its_two_products() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 20 }, &[]);
        let attention = Attention { heads: 2, key_dim: 3, head_dim: 4 };
        graph.outputs = vec![graph.push("attn", Op::Attention(attention), &[image])];
        // Each of 2 heads: 36 × 36 products over 3 channels, and 36 sums of 36 over 4.
        assert_eq!(count(&graph, 6).unwrap().flops, 2 * 2 * (36 * 36 * 3 + 36 * 36 * 4));
    }
}
