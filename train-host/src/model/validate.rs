//! Checks that a graph makes sense, and infers channels and sizes. Graphs read from files pass through here before
//! anything walks them; after that no pass needs to check an index or a channel count again. Changes nothing.

use std::collections::HashSet;

use artifact::Fault;

use super::graph::{Graph, Node, Op};
use super::infer::{infer_channels, infer_size};
use crate::{Error, Result};

/// Most nodes a graph may have.
pub const MAX_NODES: usize = 10_000;
/// Most channels a tensor may have.
pub const MAX_CHANNELS: usize = 16_384;
/// Largest kernel, stride, padding, dilation or upsampling factor.
pub const MAX_KERNEL: usize = 64;
/// Most positions an attention may look at: its memory grows with their square.
pub const MAX_POSITIONS: usize = 16_384;
/// Most values the weights of a graph may have together (800 MB as f32): twice those of the largest YOLOv5, 86.7 M.
pub const MAX_VALUES: usize = 200_000_000;

/// Result of a check that does not yet know which node or row it is about.
pub(super) type Outcome<T> = std::result::Result<T, Fault>;

/// Channels, height and width of a node's result.
pub type Shape = [usize; 3];

impl Graph {
    /// Checks names, order, arity, operator settings and channel counts.
    ///
    /// # Errors
    /// [`Error::Model`] naming the first node that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.channels().map(drop)
    }

    /// Channels of each node's result, after the checks of [`Graph::validate`].
    ///
    /// # Errors
    /// As [`Graph::validate`].
    pub fn channels(&self) -> Result<Vec<usize>> {
        self.check_structure()?;
        let mut channels = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<usize> = node.inputs.iter().map(|&i| channels[i]).collect();
            channels.push(infer_channels(&node.op, &inputs).map_err(|fault| at_node(node, fault))?);
        }
        self.check_size()?;
        Ok(channels)
    }

    /// Shape `[channels, height, width]` of each node's result for an image of `height_px` × `width_px`.
    ///
    /// # Errors
    /// As [`Graph::validate`], and [`Error::Model`] naming the node whose inputs' sizes do not fit.
    pub fn shapes(&self, height_px: usize, width_px: usize) -> Result<Vec<Shape>> {
        let channels = self.channels()?;
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (node, channels) in self.nodes.iter().zip(channels) {
            let inputs: Vec<[usize; 2]> = node.inputs.iter().map(|&i| [shapes[i][1], shapes[i][2]]).collect();
            let [height, width] = infer_size(&node.op, &inputs, [height_px, width_px]).map_err(|fault| {
                at_node(
                    node,
                    Fault { found: format!("at {height_px}x{width_px} px: {}", fault.found), ..fault },
                )
            })?;
            shapes.push([channels, height, width]);
        }
        Ok(shapes)
    }

    fn check_structure(&self) -> Result<()> {
        let count = self.nodes.len();
        if count == 0 || count > MAX_NODES {
            return Err(broken(format!("a graph of {count} nodes"), format!("1 to {MAX_NODES} nodes")));
        }
        if self.outputs.is_empty() || self.outputs.iter().any(|&id| id >= count) {
            return Err(broken(
                format!("outputs {:?} of a graph of {count} nodes", self.outputs),
                "at least one output, each a node of the graph",
            ));
        }
        let mut names = HashSet::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if node.name.is_empty() || !names.insert(node.name.as_str()) {
                return Err(broken(format!("node {id} is called {:?}", node.name), "a name of its own"));
            }
            if let Some(input) = node.inputs.iter().find(|&&input| input >= id) {
                return Err(broken(
                    format!("node {id} {:?} reads node {input}", node.name),
                    "only earlier nodes as inputs",
                ));
            }
            if matches!(node.op, Op::Input { .. }) != (id == 0) {
                return Err(broken(
                    format!("node {id} {:?} is {:?}", node.name, node.op),
                    "exactly one Input, the first node",
                ));
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        let values: usize = self.weight_specs().iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        if values > MAX_VALUES {
            return Err(broken(format!("{values} weights"), format!("at most {MAX_VALUES}")));
        }
        Ok(())
    }
}

pub(super) fn fault(found: impl Into<String>, expected: impl Into<String>) -> Fault {
    Fault::new(found, expected, "correct the model description, or take the weights file from a whole backup")
}

fn at_node(node: &Node, fault: Fault) -> Error {
    Error::Model(Fault { found: format!("node {:?}: {}", node.name, fault.found), ..fault })
}

fn broken(found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::Model(fault(found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Attention, Conv};

    const CONV: Conv =
        Conv { cin: 3, cout: 4, kernel: 3, stride: 2, pad: 1, dilation: 1, groups: 1, bias: true };

    fn chain(ops: &[Op]) -> Graph {
        let mut graph = Graph::default();
        let mut last = graph.push("images", Op::Input { channels: 3 }, &[]);
        for (index, &op) in ops.iter().enumerate() {
            last = graph.push(format!("node{index}"), op, &[last]);
        }
        graph.outputs = vec![last];
        graph
    }

    fn error_of(graph: &Graph) -> String {
        graph.validate().unwrap_err().to_string()
    }

    #[test]
    fn shapes_follow_the_operators() {
        let dilated =
            Conv { cin: 16, cout: 4, kernel: 3, stride: 1, pad: 2, dilation: 2, groups: 4, bias: false };
        let graph = chain(&[
            Op::Conv(CONV),
            Op::Act(Activation::Relu),
            Op::SpaceToDepth,
            Op::Conv(dilated),
            Op::MaxPool { kernel: 3, stride: 2, pad: 0 },
            Op::Upsample { factor: 3 },
        ]);
        let shapes = graph.shapes(31, 64).unwrap();
        assert_eq!(
            shapes,
            [[3, 31, 64], [4, 16, 32], [4, 16, 32], [16, 8, 16], [4, 8, 16], [4, 3, 7], [4, 9, 21]]
        );
        assert!(graph.shapes(29, 64).unwrap_err().to_string().contains("15x32"));
        assert!(graph.shapes(0, 64).is_err());
        assert!(graph.shapes(usize::MAX, 64).is_err());
    }

    #[test]
    fn wrong_operators_are_named() {
        let wrong = [
            Op::Conv(Conv { cin: 4, ..CONV }),
            Op::Conv(Conv { cout: 0, ..CONV }),
            Op::Conv(Conv { cout: usize::MAX, ..CONV }),
            Op::Conv(Conv { kernel: 0, ..CONV }),
            Op::Conv(Conv { kernel: usize::MAX, ..CONV }),
            Op::Conv(Conv { stride: 0, ..CONV }),
            Op::Conv(Conv { pad: usize::MAX, ..CONV }),
            Op::Conv(Conv { dilation: 0, ..CONV }),
            Op::Conv(Conv { groups: 2, ..CONV }),
            Op::Conv(Conv { groups: 0, ..CONV }),
            Op::BatchNorm { channels: 3, eps: f64::NAN },
            Op::BatchNorm { channels: 5, eps: 1e-3 },
            Op::MaxPool { kernel: 2, stride: 1, pad: 2 },
            Op::Upsample { factor: 0 },
            Op::Add,
            Op::Input { channels: 3 },
        ];
        for op in wrong {
            let error = error_of(&chain(&[Op::Act(Activation::Silu), op]));
            assert!(error.contains("node1"), "{op:?}: {error}");
        }
    }

    #[test]
    fn slices_and_attention_count_their_channels() {
        let attention = Attention { heads: 2, key_dim: 3, head_dim: 4 };
        let cut = |len| Op::Slice { start: 1, len };
        let wide = Op::Conv(Conv { cout: 21, ..CONV });
        let shapes = chain(&[wide, cut(20), Op::Attention(attention)]).shapes(32, 64).unwrap();
        assert_eq!(shapes[2..], [[20, 16, 32], [8, 16, 32]]);
        let far =
            chain(&[wide, cut(20), Op::Attention(attention)]).shapes(1024, 1024).unwrap_err().to_string();
        assert!(far.contains("512x512 positions"), "{far}");
        for len in [0, 21, usize::MAX] {
            assert!(error_of(&chain(&[wide, cut(len)])).contains("from channel 1 on"));
        }
        let none = Attention { heads: 0, ..attention };
        let huge = Attention { key_dim: usize::MAX, ..attention };
        for (attention, len) in [(attention, 19), (none, 20), (huge, 20)] {
            assert!(error_of(&chain(&[wide, cut(len), Op::Attention(attention)])).contains("node2"));
        }
    }

    #[test]
    fn wrong_structure_is_named() {
        let sound = chain(&[Op::Conv(CONV), Op::Act(Activation::Silu)]);
        sound.validate().unwrap();
        let broken = |change: fn(&mut Graph)| {
            let mut graph = sound.clone();
            change(&mut graph);
            error_of(&graph)
        };
        assert!(broken(|graph| graph.nodes.clear()).contains("0 nodes"));
        assert!(broken(|graph| graph.outputs.clear()).contains("outputs"));
        assert!(broken(|graph| graph.outputs.push(9)).contains("outputs"));
        assert!(broken(|graph| graph.nodes[2].name = "node0".into()).contains("node0"));
        assert!(broken(|graph| graph.nodes[1].inputs = vec![1]).contains("reads node 1"));
        assert!(broken(|graph| graph.nodes[1].inputs = vec![7]).contains("reads node 7"));
        assert!(broken(|graph| graph.nodes[2].inputs.clear()).contains("0 inputs"));
    }

    #[test]
    fn sums_need_equal_shapes() {
        let mut graph = chain(&[Op::Conv(CONV)]);
        let sum = graph.push("sum", Op::Add, &[0, 1]);
        graph.outputs = vec![sum];
        assert!(error_of(&graph).contains("sum of 3 and 4 channels"));
        graph.nodes[sum].op = Op::Concat;
        assert_eq!(graph.channels().unwrap()[sum], 7);
        assert!(graph.shapes(32, 32).unwrap_err().to_string().contains("32x32 and 16x16"));
    }
}
