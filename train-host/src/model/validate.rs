//! Checks that a graph makes sense, and infers channels and sizes. Graphs read from files pass through here before
//! anything walks them; after that no pass needs to check an index or a channel count again. Changes nothing.

use std::collections::HashSet;

use artifact::Fault;

use super::graph::{Conv, Graph, Node, Op};
use crate::{Error, Result};

/// Most nodes a graph may have.
pub const MAX_NODES: usize = 10_000;
/// Most channels a tensor may have.
pub const MAX_CHANNELS: usize = 16_384;
/// Largest kernel, stride, padding, dilation or upsampling factor.
pub const MAX_KERNEL: usize = 64;
/// Largest height or width in pixels.
pub const MAX_SIDE_PX: usize = 16_384;
/// Most values the weights of a graph may have together (2 GB as f32).
pub const MAX_VALUES: usize = 500_000_000;

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

/// Channels of an operator's result, from those of its inputs; checks arity and the operator's own settings.
pub(super) fn infer_channels(op: &Op, inputs: &[usize]) -> Outcome<usize> {
    check_arity(op, inputs.len())?;
    let channels = match *op {
        Op::Input { channels } => channels,
        Op::Conv(conv) => {
            check_conv(&conv)?;
            expect_channels(conv.cin, inputs[0])?;
            conv.cout
        }
        Op::BatchNorm { channels, eps } => {
            if !(eps.is_finite() && eps > 0.0) {
                return Err(fault(format!("batch norm with eps {eps}"), "a positive eps"));
            }
            expect_channels(channels, inputs[0])?;
            channels
        }
        Op::Act(_) => inputs[0],
        Op::MaxPool { kernel, stride, pad } => {
            check_window("max pool", kernel, stride, pad)?;
            if pad > kernel / 2 {
                return Err(fault(
                    format!("max pool {kernel} with padding {pad}"),
                    "at most half the kernel",
                ));
            }
            inputs[0]
        }
        Op::Upsample { factor } => {
            check_range("upsampling factor", factor, 1)?;
            inputs[0]
        }
        Op::Add => {
            if let Some(other) = inputs.iter().find(|&&c| c != inputs[0]) {
                return Err(fault(format!("a sum of {} and {other} channels", inputs[0]), "equal channels"));
            }
            inputs[0]
        }
        Op::Concat => inputs.iter().sum(),
        Op::SpaceToDepth => 4 * inputs[0],
    };
    if (1..=MAX_CHANNELS).contains(&channels) {
        Ok(channels)
    } else {
        Err(fault(format!("{channels} channels"), format!("1 to {MAX_CHANNELS}")))
    }
}

/// Height and width of an operator's result, from those of its inputs (the image's for an Input).
pub(super) fn infer_size(op: &Op, inputs: &[[usize; 2]], image: [usize; 2]) -> Outcome<[usize; 2]> {
    let size = match *op {
        Op::Input { .. } => image,
        Op::Conv(conv) => slide(inputs[0], conv.dilation * (conv.kernel - 1) + 1, conv.stride, conv.pad)?,
        Op::MaxPool { kernel, stride, pad } => slide(inputs[0], kernel, stride, pad)?,
        Op::BatchNorm { .. } | Op::Act(_) => inputs[0],
        Op::Upsample { factor } => inputs[0].map(|side| side * factor),
        Op::Add | Op::Concat => {
            if let Some(other) = inputs.iter().find(|&&size| size != inputs[0]) {
                let [h, w] = inputs[0];
                let [other_h, other_w] = other;
                return Err(fault(
                    format!("inputs of {h}x{w} and {other_h}x{other_w} px"),
                    "inputs of one size (an image side that is a multiple of the largest stride)",
                ));
            }
            inputs[0]
        }
        Op::SpaceToDepth => {
            let [h, w] = inputs[0];
            if h % 2 != 0 || w % 2 != 0 {
                return Err(fault(format!("Focus over {h}x{w} px"), "an even height and width"));
            }
            [h / 2, w / 2]
        }
    };
    if size.iter().all(|side| (1..=MAX_SIDE_PX).contains(side)) {
        Ok(size)
    } else {
        Err(fault(
            format!("a result of {}x{} px", size[0], size[1]),
            format!("sides of 1 to {MAX_SIDE_PX} px"),
        ))
    }
}

fn slide(size: [usize; 2], window: usize, stride: usize, pad: usize) -> Outcome<[usize; 2]> {
    if size.iter().any(|side| side + 2 * pad < window) {
        let [h, w] = size;
        return Err(fault(
            format!("a window of {window} over {h}x{w} px, padding {pad}"),
            "a window that fits",
        ));
    }
    Ok(size.map(|side| (side + 2 * pad - window) / stride + 1))
}

fn check_arity(op: &Op, count: usize) -> Outcome<()> {
    let (fits, expected) = match op {
        Op::Input { .. } => (count == 0, "no input"),
        Op::Add | Op::Concat => (count >= 2, "two inputs or more"),
        _ => (count == 1, "one input"),
    };
    if fits { Ok(()) } else { Err(fault(format!("{count} inputs"), expected)) }
}

fn check_conv(conv: &Conv) -> Outcome<()> {
    check_window("convolution", conv.kernel, conv.stride, conv.pad)?;
    check_range("dilation", conv.dilation, 1)?;
    let Conv { cin, cout, groups, .. } = *conv;
    if groups == 0 || cin % groups != 0 || cout % groups != 0 {
        return Err(fault(
            format!("{groups} groups for {cin} input and {cout} output channels"),
            "groups that divide both channel counts",
        ));
    }
    Ok(())
}

fn check_window(what: &str, kernel: usize, stride: usize, pad: usize) -> Outcome<()> {
    check_range(&format!("{what} kernel"), kernel, 1)?;
    check_range(&format!("{what} stride"), stride, 1)?;
    check_range(&format!("{what} padding"), pad, 0)
}

fn check_range(what: &str, value: usize, least: usize) -> Outcome<()> {
    if (least..=MAX_KERNEL).contains(&value) {
        Ok(())
    } else {
        Err(fault(format!("{what} of {value}"), format!("{least} to {MAX_KERNEL}")))
    }
}

fn expect_channels(expected: usize, found: usize) -> Outcome<()> {
    if expected == found {
        Ok(())
    } else {
        Err(fault(format!("an input of {found} channels"), format!("{expected} channels")))
    }
}

fn fault(found: impl Into<String>, expected: impl Into<String>) -> Fault {
    Fault::new(found, expected, "correct the model description, or take the weights file from a whole backup")
}

fn at_node(node: &Node, fault: Fault) -> Error {
    Error::Model(Fault { found: format!("node {:?}: {}", node.name, fault.found), ..fault })
}

fn broken(found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::Model(fault(found, expected))
}
