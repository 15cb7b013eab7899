//! Lets every image that callers give enter through a conversion into blocks. Where its only reader is a convolution of
//! stride 2, 2×2 pixels become channels on the way, and the convolution one of stride 1 over a quarter of the pixels: the
//! blocks of channels are filled better, and 3×3 of it is open to Winograd's filtering.

use crate::layout::Shape;
use crate::network::{Convolution, Network, Node, Operator, Value};

/// Most channels of an image whose pixels become channels.
const MAX_CHANNELS: usize = 4;
/// Rows and columns of the kernel over 2×2 pixels.
const KERNEL: usize = 3;

/// Inserts the conversions.
pub fn convert_inputs(network: &mut Network) {
    for input in network.inputs.clone() {
        let (factor, rewritten) = match deeper_reader(network, input) {
            Some((at, conv)) => (2, Some((at, conv))),
            None => (1, None),
        };
        let shape = network.shape(input);
        let packed = network.value(Shape {
            channels: shape.channels * factor * factor,
            height: shape.height.div_ceil(factor),
            width: shape.width.div_ceil(factor),
        });
        let readers = network.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        let given = network.outputs.iter_mut();
        readers.chain(given).filter(|value| **value == input).for_each(|value| *value = packed);
        if let Some((at, conv)) = rewritten {
            network.nodes[at].operator = Operator::Convolution(conv);
        }
        let operator = Operator::SpaceToDepth { factor };
        network.nodes.insert(0, Node { operator, inputs: vec![input], output: packed });
    }
}

/// The only reader of `input`, rewritten for 2×2 pixels as channels, if it can be.
fn deeper_reader(network: &Network, input: Value) -> Option<(usize, Convolution)> {
    let mut readers = network.nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&input));
    let (at, node) = readers.next()?;
    let alone = readers.next().is_none() && node.inputs.len() == 1 && !network.outputs.contains(&input);
    match &node.operator {
        Operator::Convolution(conv) if alone => {
            Some((at, deeper(conv, network.shape(input), network.shape(node.output))?))
        }
        _ => None,
    }
}

/// `conv` over 2×2 pixels as channels.
fn deeper(conv: &Convolution, input: Shape, output: Shape) -> Option<Convolution> {
    if conv.stride != [2, 2] || input.channels > MAX_CHANNELS {
        return None;
    }
    let sides = [(input.height, output.height), (input.width, output.width)];
    let mut pad_end = [0; 2];
    for (axis, (side, outputs)) in sides.into_iter().enumerate() {
        // Tap k of output i reads pixel 2i + k − pad, which is in row i + (k − pad) / 2 of pairs: from the one before to
        // the one behind.
        let (pad, kernel) = (conv.pad[axis], conv.kernel[axis]);
        if pad > 2 || kernel > pad + 4 {
            return None;
        }
        pad_end[axis] =
            (outputs + KERNEL - 1).checked_sub(side.div_ceil(2) + 1).filter(|&pad| pad < KERNEL)?;
    }
    Some(Convolution {
        weights: deeper_weights(conv, input.channels),
        bias: conv.bias.clone(),
        kernel: [KERNEL; 2],
        stride: [1, 1],
        pad: [1, 1],
        pad_end,
        activation: conv.activation,
    })
}

fn deeper_weights(conv: &Convolution, channels: usize) -> Vec<f32> {
    let [rows, columns] = conv.kernel;
    let mut weights = vec![0.0; conv.bias.len() * 4 * channels * KERNEL * KERNEL];
    for (index, &weight) in conv.weights.iter().enumerate() {
        let (column, row) = (index % columns, index / columns % rows);
        let (channel, output) = (index / (columns * rows) % channels, index / (columns * rows * channels));
        // The pair before the output's is number 0, so both are shifted by 2.
        let [y, x] = [row + 2 - conv.pad[0], column + 2 - conv.pad[1]];
        let deep = (channel * 2 + y % 2) * 2 + x % 2;
        weights[((output * 4 * channels + deep) * KERNEL + y / 2) * KERNEL + x / 2] = weight;
    }
    weights
}
