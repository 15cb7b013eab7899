//! Operators over neighborhoods: shapes of convolutions, pools and resizes. Only the 1×1 convolution that sums the bins
//! of a distribution is ever computed here.

use artifact::MAX_SIDE_PX;

use super::{Call, Outcome};
use crate::import::onnx::fault::{broken, unsupported};
use crate::import::onnx::proto::Node;
use crate::import::onnx::tensor::{Value, elements};

/// Kernel, strides, dilations and padding of a window, by axis: height, width.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::import::onnx) struct Window {
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// Padding before and after.
    pub pads: [[usize; 2]; 2],
}

impl Window {
    /// Reads the attributes of a convolution or pool over maps of `size`; `kernel` where they may leave it out.
    pub fn read(node: &Node, kernel: Option<[usize; 2]>, size: [usize; 2]) -> Outcome<Self> {
        let both = |name: &str, default: Option<[usize; 2]>| match node.ints(name) {
            None => default.ok_or_else(|| broken(format!("no {name}"))),
            Some(ints) => {
                let sides: Option<Vec<usize>> = ints.iter().map(|&side| usize::try_from(side).ok()).collect();
                let sides = sides.and_then(|sides| <[usize; 2]>::try_from(sides).ok());
                sides.ok_or_else(|| unsupported(format!("{name} {ints:?}: only two axes are supported")))
            }
        };
        let (kernel, strides) = (both("kernel_shape", kernel)?, both("strides", Some([1; 2]))?);
        let dilations = both("dilations", Some([1; 2]))?;
        let sane = |side: &usize| (1..=1024).contains(side);
        if !kernel.iter().chain(&strides).chain(&dilations).all(sane) {
            return Err(broken(format!("a window of {kernel:?} by {strides:?} over {dilations:?}")));
        }
        let reach = |axis: usize| dilations[axis] * (kernel[axis] - 1) + 1;
        let mut pads = [[0; 2]; 2];
        match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => {
                if let Some(ints) = node.ints("pads") {
                    let sides: Option<Vec<usize>> = ints
                        .iter()
                        .map(|&side| usize::try_from(side).ok().filter(|side| *side <= 1024))
                        .collect();
                    let Some(&[top, left, bottom, right]) = sides.as_deref() else {
                        return Err(unsupported(format!("pads {ints:?}")));
                    };
                    pads = [[top, bottom], [left, right]];
                }
            }
            "VALID" => {}
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                for axis in 0..2 {
                    let cells = size[axis].div_ceil(strides[axis]).max(1);
                    let all = ((cells - 1) * strides[axis] + reach(axis)).saturating_sub(size[axis]);
                    pads[axis] = [all / 2, all - all / 2];
                    if same == "SAME_LOWER" {
                        pads[axis].reverse();
                    }
                }
            }
            other => return Err(broken(format!("auto_pad {other:?}"))),
        }
        Ok(Self { kernel, strides, dilations, pads })
    }

    /// Height and width of the result.
    fn slide(&self, size: [usize; 2]) -> Outcome<[usize; 2]> {
        let mut result = [0; 2];
        for axis in 0..2 {
            let reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1;
            let room = size[axis] + self.pads[axis][0] + self.pads[axis][1];
            let steps = room
                .checked_sub(reach)
                .ok_or_else(|| broken(format!("a window of {reach} over {size:?}")))?;
            result[axis] = steps / self.strides[axis] + 1;
        }
        Ok(result)
    }
}

/// Channels, height and width of a stack of feature maps, and how many there are.
fn maps(value: &Value) -> Outcome<[usize; 4]> {
    <[usize; 4]>::try_from(value.shape.as_slice())
        .map_err(|_| unsupported(format!("it reads {:?} and not feature maps", value.shape)))
}

pub(super) fn convolution(call: &mut Call) -> Outcome<Value> {
    let (value, weight) = (call.input(0)?, call.input(1)?);
    let [count, channels, height, width] = maps(value)?;
    let [filters, depth, rows, columns] = maps(weight)?;
    let groups = call.node.int("group").unwrap_or(1);
    let groups = usize::try_from(groups).ok().filter(|groups| *groups > 0 && filters.is_multiple_of(*groups));
    if groups.and_then(|groups| groups.checked_mul(depth)) != Some(channels) {
        return Err(broken(format!("a kernel of {:?} over {:?}", weight.shape, value.shape)));
    }
    let window = Window::read(call.node, Some([rows, columns]), [height, width])?;
    if window.kernel != [rows, columns] {
        return Err(broken(format!("kernel_shape {:?} of a kernel of {:?}", window.kernel, weight.shape)));
    }
    let [out_height, out_width] = window.slide([height, width])?;
    let shape = vec![count, filters, out_height, out_width];
    elements(&shape).ok_or_else(|| unsupported("a feature map beyond any detector"))?;
    let (Some(data), Some(kernel)) = (value.as_floats(), weight.as_floats()) else {
        return Ok(Value::unknown(shape));
    };
    let plain = Window { kernel: [1; 2], strides: [1; 2], dilations: [1; 2], pads: [[0; 2]; 2] };
    if window != plain || groups != Some(1) || call.optional(2).is_some() || filters != 1 {
        return Err(unsupported("a convolution within the decoding of the head"));
    }
    call.work.claim(&value.shape)?;
    let cells = height * width;
    let mut sums = vec![0.0; count * cells];
    for (sums, maps) in sums.chunks_exact_mut(cells.max(1)).zip(data.chunks_exact((channels * cells).max(1)))
    {
        for (map, &factor) in maps.chunks_exact(cells.max(1)).zip(kernel) {
            sums.iter_mut().zip(map).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    Ok(Value::floats(shape, sums))
}

pub(super) fn batch_norm(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    if call.node.int("training_mode").unwrap_or(0) != 0 {
        return Err(unsupported("a batch norm in training mode"));
    }
    if value.is_known() {
        return Err(unsupported("a batch norm within the decoding of the head"));
    }
    Ok(Value::unknown(value.shape.clone()))
}

pub(super) fn max_pool(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let [count, channels, height, width] = maps(value)?;
    let window = Window::read(call.node, None, [height, width])?;
    if call.node.int("ceil_mode").unwrap_or(0) != 0 {
        return Err(unsupported("a pool that rounds up (ceil_mode)"));
    }
    if value.is_known() {
        return Err(unsupported("a pool within the decoding of the head"));
    }
    let [height, width] = window.slide([height, width])?;
    let shape = vec![count, channels, height, width];
    elements(&shape).ok_or_else(|| unsupported("a feature map beyond any detector"))?;
    Ok(Value::unknown(shape))
}

/// `Resize` on (image, region, scales, sizes).
pub(super) fn resize(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let [count, channels, height, width] = maps(value)?;
    let [rows, columns] = factors(call)?;
    let side = |side: usize, factor: usize| side.checked_mul(factor);
    let shape = (side(height, rows), side(width, columns));
    let (Some(height), Some(width)) = shape else {
        return Err(unsupported("a feature map beyond any detector"));
    };
    let shape = vec![count, channels, height, width];
    elements(&shape).ok_or_else(|| unsupported("a feature map beyond any detector"))?;
    if value.is_known() {
        return Err(unsupported("a resize within the decoding of the head"));
    }
    Ok(Value::unknown(shape))
}

/// By how much `node` repeats rows and columns.
pub(in crate::import::onnx) fn nearest_factors(
    node: &Node,
    inputs: &[Option<&Value>],
) -> Outcome<[usize; 2]> {
    let mut work = super::Work::new(0);
    factors(&Call { node, inputs: inputs.to_vec(), opset: 0, work: &mut work })
}

fn factors(call: &Call) -> Outcome<[usize; 2]> {
    let value = call.input(0)?;
    let [count, channels, height, width] = maps(value)?;
    if call.node.text("mode").unwrap_or("nearest") != "nearest" {
        return Err(unsupported(format!("mode {:?}: only nearest is supported", call.node.text("mode"))));
    }
    let scales = call.optional(2).and_then(Value::as_floats).filter(|scales| !scales.is_empty());
    let fractions: Vec<f64> = match (scales, call.optional(3).and_then(Value::as_ints)) {
        (Some(scales), _) => scales.iter().map(|&scale| f64::from(scale)).collect(),
        (None, Some(sizes)) => {
            #[expect(clippy::cast_precision_loss, reason = "sides of images are far below 2^52")]
            let ratio = |(&size, side): (&i64, usize)| size as f64 / side.max(1) as f64;
            sizes.iter().zip([count, channels, height, width]).map(ratio).collect()
        }
        (None, None) => return Err(unsupported("a size that depends on the image")),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and in range, as checked"
    )]
    let whole = |fraction: f64| {
        (fraction.fract() == 0.0 && (1.0..=64.0).contains(&fraction)).then_some(fraction as usize)
    };
    let factors: Option<Vec<usize>> = fractions.iter().copied().map(whole).collect();
    let Some(&[1, 1, rows, columns]) = factors.as_deref() else {
        return Err(unsupported(format!(
            "a resize by {fractions:?}: only whole factors of both sides are supported"
        )));
    };
    for (side, factor) in [(height, rows), (width, columns)] {
        if !repeats(call.node, side, factor) {
            return Err(unsupported("a resize that takes other neighbors than plain repetition does"));
        }
    }
    Ok([rows, columns])
}

/// Whether each of `side` cells is repeated `factor` times by the node's coordinate and rounding rules.
fn repeats(node: &Node, side: usize, factor: usize) -> bool {
    if side > MAX_SIDE_PX {
        return false;
    }
    if factor == 1 {
        return true;
    }
    let coordinates = node.text("coordinate_transformation_mode").unwrap_or("half_pixel");
    let rounding = node.text("nearest_mode").unwrap_or("round_prefer_floor");
    #[expect(clippy::cast_precision_loss, reason = "sides of images are far below 2^52")]
    let (length, scale, result) = (side as f64, factor as f64, (side * factor) as f64);
    (0..side * factor).all(|index| {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let (at, expected) = (index as f64, (index / factor) as f64);
        let source = match coordinates {
            "asymmetric" => at / scale,
            "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric" => (at + 0.5) / scale - 0.5,
            "align_corners" => at * (length - 1.0) / (result - 1.0),
            _ => return false,
        };
        let nearest = match rounding {
            "floor" => source.floor(),
            "ceil" => source.ceil(),
            "round_prefer_floor" => (source - 0.5).ceil(),
            "round_prefer_ceil" => (source + 0.5).floor(),
            _ => return false,
        };
        nearest.clamp(0.0, length - 1.0) == expected
    })
}
