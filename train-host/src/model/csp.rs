//! Bottlenecks and stages of them that only part of the channels pass (cross stage partial, arXiv 1911.11929): YOLOv5's
//! C3 and the stage of CSPDarknet53, both with plain or rep 3×3 convolutions.

use super::args::Args;
use super::build::{Builder, scale_down};
use super::graph::{NodeId, Op};
use super::layers::{ConvArgs, conv};
use super::rep_block;
use super::validate::Outcome;
use super::yaml::Row;

/// Which convolution a bottleneck's 3×3 is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Inner {
    Plain,
    Rep,
}

struct BottleneckArgs {
    cout: usize,
    shortcut: bool,
    groups: usize,
    expansion: f64,
}

impl BottleneckArgs {
    fn read(builder: &Builder, row: &Row) -> Outcome<Self> {
        let args = Args::new(&row.module, "[channels, shortcut, groups, expansion]", &row.args, 4)?;
        Ok(Self {
            cout: builder.scale_width(args.integer(0, "channels")?),
            shortcut: args.flag(1, "shortcut")?.unwrap_or(true),
            groups: args.integer_or(2, "groups", 1)?,
            expansion: args.ratio_or(3, "expansion", 0.5)?,
        })
    }
}

/// A bottleneck on its own.
pub(super) fn add_bottleneck(
    builder: &mut Builder,
    row: &Row,
    prefix: &str,
    input: NodeId,
    inner: Inner,
) -> Outcome<NodeId> {
    let args = BottleneckArgs::read(builder, row)?;
    bottleneck(builder, prefix, input, &args, inner)
}

/// 1×1 down to `expansion` of the channels, 3×3 back up, and the input added where asked and possible.
fn bottleneck(
    builder: &mut Builder,
    prefix: &str,
    input: NodeId,
    args: &BottleneckArgs,
    inner: Inner,
) -> Outcome<NodeId> {
    let hidden = ConvArgs::same(scale_down(args.cout, args.expansion), 1, 1);
    let hidden = conv(builder, &format!("{prefix}.cv1"), input, hidden)?;
    let back = ConvArgs { groups: args.groups, ..ConvArgs::same(args.cout, 3, 1) };
    let prefix_back = format!("{prefix}.cv2");
    let result = match inner {
        Inner::Plain => conv(builder, &prefix_back, hidden, back)?,
        Inner::Rep => rep_block::add(builder, &prefix_back, hidden, back)?,
    };
    if args.shortcut && builder.channels(input) == args.cout {
        builder.push(format!("{prefix}.add"), Op::Add, &[input, result])
    } else {
        Ok(result)
    }
}

/// Two halves of the channels, one through `depth` bottlenecks, concatenated and mixed by a 1×1.
pub(super) fn add_c3(
    builder: &mut Builder,
    row: &Row,
    prefix: &str,
    input: NodeId,
    depth: usize,
    inner: Inner,
) -> Outcome<NodeId> {
    let args = BottleneckArgs::read(builder, row)?;
    let hidden = ConvArgs::same(scale_down(args.cout, args.expansion), 1, 1);
    let mut deep = conv(builder, &format!("{prefix}.cv1"), input, hidden)?;
    let step = BottleneckArgs { cout: hidden.cout, expansion: 1.0, ..args };
    for repeat in 0..depth {
        deep = bottleneck(builder, &format!("{prefix}.m.{repeat}"), deep, &step, inner)?;
    }
    let short = conv(builder, &format!("{prefix}.cv2"), input, hidden)?;
    let both = builder.push(format!("{prefix}.concat"), Op::Concat, &[deep, short])?;
    conv(builder, &format!("{prefix}.cv3"), both, ConvArgs::same(args.cout, 1, 1))
}

/// A stage of CSPDarknet53 (YOLOv4, arXiv 2004.10934): as C3, but the deep half is mixed by a 1×1 of its own before the
/// two are concatenated. `split` is the share of the channels each half has, `expansion` that of the bottlenecks'
/// inside; the first stage has 1 and 0.5, all others 0.5 and 1.
pub(super) fn add_csp(
    builder: &mut Builder,
    row: &Row,
    prefix: &str,
    input: NodeId,
    depth: usize,
    inner: Inner,
) -> Outcome<NodeId> {
    let args = Args::new(&row.module, "[channels, split, expansion]", &row.args, 3)?;
    let cout = builder.scale_width(args.integer(0, "channels")?);
    let half = ConvArgs::same(scale_down(cout, args.ratio_or(1, "split", 0.5)?), 1, 1);
    let expansion = args.ratio_or(2, "expansion", 1.0)?;
    let step = BottleneckArgs { cout: half.cout, shortcut: true, groups: 1, expansion };
    let mut deep = conv(builder, &format!("{prefix}.cv1"), input, half)?;
    for repeat in 0..depth {
        deep = bottleneck(builder, &format!("{prefix}.m.{repeat}"), deep, &step, inner)?;
    }
    let deep = conv(builder, &format!("{prefix}.cv3"), deep, half)?;
    let short = conv(builder, &format!("{prefix}.cv2"), input, half)?;
    let both = builder.push(format!("{prefix}.concat"), Op::Concat, &[deep, short])?;
    conv(builder, &format!("{prefix}.cv4"), both, ConvArgs::same(cout, 1, 1))
}
