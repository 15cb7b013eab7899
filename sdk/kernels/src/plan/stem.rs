//! Lets every image that callers give enter through a conversion into blocks, but one that its only reader takes as it lies.
//! Where that reader is a convolution of stride 2, 2×2 pixels become channels on the way, and the convolution one of stride 1
//! over a quarter of the pixels: the blocks of channels are filled better, and 3×3 of it is open to Winograd's filtering.

use super::costs::Costs;
use super::entry;
use crate::layout::Shape;
use crate::network::{Network, Node, Operator, Value, Windows};

/// Most channels of an image whose pixels become channels.
const MAX_CHANNELS: usize = 4;
/// Rows and columns of the kernel over 2×2 pixels.
const KERNEL: usize = 3;

/// Inserts the conversions.
pub fn convert_inputs(network: &mut Network, costs: &Costs) {
    for input in network.inputs.clone() {
        let reader = only_reader(network, input).filter(|_| costs.reads_planes);
        if reader.is_some_and(|reader| entry::reads_planes(network, reader, input)) {
            continue;
        }
        let (entering, quantize) = match quantization(network, input) {
            Some((node, quantize)) => (network.nodes.remove(node).output, Some(quantize)),
            None => (input, None),
        };
        let (factor, border) = deepen_reader(network, entering).map_or((1, 0), |border| (2, border));
        let shape = network.shape(input);
        let deep = Shape {
            channels: shape.channels * factor * factor,
            height: shape.height.div_ceil(factor),
            width: shape.width.div_ceil(factor),
        };
        let packed = network.value(deep, network.kind(entering));
        let readers = network.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        let given = network.outputs.iter_mut();
        readers.chain(given).filter(|value| **value == entering).for_each(|value| *value = packed);
        let operator = Operator::Enter { factor, quantize, border };
        network.nodes.insert(0, Node { operator, inputs: vec![input], output: packed });
    }
}

/// The only reader of `value`, where that is not given out.
fn only_reader(network: &Network, value: Value) -> Option<usize> {
    let mut readers = network.nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&value));
    let (at, _) = readers.next()?;
    (readers.next().is_none() && !network.outputs.contains(&value)).then_some(at)
}

/// The quantization that alone reads `input`, with its factor and zero point.
fn quantization(network: &Network, input: Value) -> Option<(usize, (f32, i8))> {
    let at = only_reader(network, input)?;
    match network.nodes[at].operator {
        Operator::Quantize { factor, zero_point } => Some((at, (factor, zero_point))),
        _ => None,
    }
}

/// Rewrites the only reader of `input` for 2×2 pixels as channels, if it can be, and gives what stands around its image.
fn deepen_reader(network: &mut Network, input: Value) -> Option<i8> {
    let at = only_reader(network, input)?;
    let (input, output) = (network.shape(input), network.shape(network.nodes[at].output));
    let node = &mut network.nodes[at];
    if node.inputs.len() != 1 {
        return None;
    }
    match &mut node.operator {
        Operator::Convolution(conv) => {
            let windows = deeper(conv.windows, input, output)?;
            conv.weights = deeper_weights(&conv.weights, conv.windows, [conv.bias.len(), input.channels]);
            conv.windows = windows;
            Some(0)
        }
        Operator::Integer(conv) => {
            let windows = deeper(conv.windows, input, output)?;
            conv.weights = deeper_weights(&conv.weights, conv.windows, [output.channels, input.channels]);
            conv.windows = windows;
            Some(conv.zero_point)
        }
        _ => None,
    }
}

/// The windows of a convolution over 2×2 pixels as channels, for one with `windows`.
fn deeper(windows: Windows, input: Shape, output: Shape) -> Option<Windows> {
    if windows.stride != [2, 2] || input.channels > MAX_CHANNELS {
        return None;
    }
    let sides = [(input.height, output.height), (input.width, output.width)];
    let mut pad_end = [0; 2];
    for (axis, (side, outputs)) in sides.into_iter().enumerate() {
        // Tap k of output i reads pixel 2i + k − pad, which is in row i + (k − pad) / 2 of pairs: from the one before to
        // the one behind.
        let (pad, kernel) = (windows.pad[axis], windows.kernel[axis]);
        if pad > 2 || kernel > pad + 4 {
            return None;
        }
        pad_end[axis] =
            (outputs + KERNEL - 1).checked_sub(side.div_ceil(2) + 1).filter(|&pad| pad < KERNEL)?;
    }
    Some(Windows { kernel: [KERNEL; 2], stride: [1, 1], pad: [1, 1], pad_end })
}

/// The weights that belong to it.
fn deeper_weights<T: Copy + Default>(
    weights: &[T],
    windows: Windows,
    [outputs, channels]: [usize; 2],
) -> Vec<T> {
    let [rows, columns] = windows.kernel;
    let mut deeper = vec![T::default(); outputs * 4 * channels * KERNEL * KERNEL];
    for (index, &weight) in weights.iter().enumerate() {
        let (column, row) = (index % columns, index / columns % rows);
        let (channel, output) = (index / (columns * rows) % channels, index / (columns * rows * channels));
        // The pair before the output's is number 0, so both are shifted by 2.
        let [y, x] = [row + 2 - windows.pad[0], column + 2 - windows.pad[1]];
        let deep = (channel * 2 + y % 2) * 2 + x % 2;
        deeper[((output * 4 * channels + deep) * KERNEL + y / 2) * KERNEL + x / 2] = weight;
    }
    deeper
}
