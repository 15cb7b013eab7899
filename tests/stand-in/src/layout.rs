//! Tensors in the NPU's memory: sizes, strides and padding, and the way between stored elements in plain order and that
//! memory. What fills padding up is never zero, so that reading it shows.

use crate::scenario::{Order, Output};

/// What lies where nothing means anything.
const PADDING: u8 = 0x5A;

/// Dimensions of the output in memory.
pub(crate) fn native_dims(output: &Output) -> Vec<usize> {
    let [_, channels, height, width] = output.shape;
    match output.order {
        Order::Nchw => output.shape.to_vec(),
        Order::Nhwc { .. } => vec![1, height, width, channels],
        Order::Nc1hwc2 { c2, align } => {
            let cells = height * width;
            let plane = cells.next_multiple_of(align.max(1));
            // Where a plane is filled up, the real runtime gives it as a single row.
            let (rows, columns) = if plane == cells { (height, width) } else { (1, plane) };
            vec![1, channels.div_ceil(c2), rows, columns, c2]
        }
        Order::PaddedNc1hwc2 { c2, .. } => vec![1, channels.div_ceil(c2), height, row_stride(output), c2],
    }
}

/// Cells from one row to the next, where rows are padded.
pub(crate) fn row_stride(output: &Output) -> usize {
    match output.order {
        Order::Nhwc { row_stride } | Order::PaddedNc1hwc2 { row_stride, .. } => {
            row_stride.max(output.shape[3])
        }
        Order::Nchw | Order::Nc1hwc2 { .. } => output.shape[3],
    }
}

/// Bytes of the output without padding of rows; with that of channels and planes.
pub(crate) fn size(output: &Output) -> usize {
    match output.order {
        // As the real one says: the elements that mean something.
        Order::Nc1hwc2 { .. } | Order::PaddedNc1hwc2 { .. } => {
            output.shape.iter().product::<usize>() * output.element.bytes()
        }
        Order::Nchw | Order::Nhwc { .. } => {
            native_dims(output).iter().product::<usize>() * output.element.bytes()
        }
    }
}

/// Bytes that the output's memory must have.
pub(crate) fn size_with_stride(output: &Output) -> usize {
    let dims = native_dims(output);
    match output.order {
        Order::Nhwc { .. } => dims[1] * row_stride(output) * dims[3] * output.element.bytes(),
        Order::Nchw | Order::Nc1hwc2 { .. } | Order::PaddedNc1hwc2 { .. } => {
            dims.iter().product::<usize>() * output.element.bytes()
        }
    }
}

/// Stored elements in plain order, channels outermost, as they lie in the NPU's memory.
pub(crate) fn to_native(output: &Output, plain: &[u8]) -> Vec<u8> {
    let mut memory = vec![PADDING; size_with_stride(output)];
    let [_, channels, height, width] = output.shape;
    let (cells, bytes) = (height * width, output.element.bytes());
    let stride = row_stride(output);
    for channel in 0..channels {
        for cell in 0..cells {
            let to = match output.order {
                Order::Nchw => channel * cells + cell,
                Order::Nhwc { .. } => (cell / width * stride + cell % width) * channels + channel,
                Order::Nc1hwc2 { c2, align } => {
                    let plane = cells.next_multiple_of(align.max(1));
                    (channel / c2 * plane + cell) * c2 + channel % c2
                }
                Order::PaddedNc1hwc2 { c2, .. } => {
                    let row = channel / c2 * height + cell / width;
                    (row * stride + cell % width) * c2 + channel % c2
                }
            };
            let from = (channel * cells + cell) * bytes;
            memory[to * bytes..(to + 1) * bytes].copy_from_slice(&plain[from..from + bytes]);
        }
    }
    memory
}
