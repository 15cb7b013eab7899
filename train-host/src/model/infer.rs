//! Channels and sizes of one operator's result from those of its inputs, with every check that needs no more than the
//! operator. Never sees a graph or weights.

use artifact::MAX_SIDE_PX;

use super::graph::{Attention, Conv, Op};
use super::validate::{MAX_CHANNELS, MAX_KERNEL, MAX_POSITIONS, Outcome, fault};

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
        Op::Slice { start, len } => {
            let end = start.checked_add(len).filter(|&end| len > 0 && end <= inputs[0]);
            end.ok_or_else(|| {
                fault(
                    format!("{len} channels from channel {start} on"),
                    format!("a part of {} channels", inputs[0]),
                )
            })?;
            len
        }
        Op::Attention(attention) => attention_channels(&attention, inputs[0])?,
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
        Op::BatchNorm { .. } | Op::Act(_) | Op::Slice { .. } => inputs[0],
        Op::Attention(_) => {
            let [h, w] = inputs[0];
            if h * w > MAX_POSITIONS {
                return Err(fault(
                    format!("attention over {h}x{w} positions"),
                    format!("at most {MAX_POSITIONS} positions"),
                ));
            }
            inputs[0]
        }
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

/// Channels of the result, for an input of `found` channels.
fn attention_channels(attention: &Attention, found: usize) -> Outcome<usize> {
    let Attention { heads, key_dim, head_dim } = *attention;
    let sides = [heads, key_dim, head_dim];
    if sides.iter().any(|side| !(1..=MAX_CHANNELS).contains(side)) {
        return Err(fault(format!("attention {sides:?}"), format!("1 to {MAX_CHANNELS} heads and channels")));
    }
    expect_channels(heads * (2 * key_dim + head_dim), found)?;
    Ok(heads * head_dim)
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
