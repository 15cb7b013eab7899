//! What each module of the YAML grammar is made of, as graph nodes named like YOLOv5's module paths. One function a
//! module; sizes and channels are checked as nodes are pushed.

use artifact::Fault;

use super::args::Args;
use super::build::Builder;
use super::csp;
use super::graph::{Conv, NodeId, Op};
use super::rep_block;
use super::validate::Outcome;
use super::yaml::Row;

/// Added to the variance by every batch norm of YOLOv5.
pub(super) const BN_EPS: f64 = 1e-3;

const MODULES: &str = "Conv, RepConv, Focus, Bottleneck, BottleneckRep, C3, C3Rep, CSP, CSPRep, SPP, SPPF, nn.Upsample, nn.MaxPool2d, Concat, Detect (last)";

/// Settings of a convolution layer as rows give them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvArgs {
    pub cout: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
    pub dilation: usize,
}

impl ConvArgs {
    /// A convolution that keeps the size at stride 1.
    pub fn same(cout: usize, kernel: usize, stride: usize) -> Self {
        Self { cout, kernel, stride, pad: kernel / 2, groups: 1, dilation: 1 }
    }

    /// The bare convolution over `cin` channels, without bias.
    pub fn conv(self, cin: usize) -> Conv {
        let Self { cout, kernel, stride, pad, groups, dilation } = self;
        Conv { cin, cout, kernel, stride, pad, dilation, groups, bias: false }
    }
}

/// Whether a module takes `number` as its own depth instead of being repeated.
pub(super) fn repeats_inside(module: &str) -> bool {
    matches!(module, "C3" | "C3Rep" | "CSP" | "CSPRep")
}

/// Adds one module; `depth` is for those that repeat inside.
pub(super) fn add(
    builder: &mut Builder,
    row: &Row,
    prefix: &str,
    inputs: &[NodeId],
    depth: usize,
) -> Outcome<NodeId> {
    if row.module == "Concat" {
        let args = Args::new("Concat", "[1]", &row.args, 1)?;
        if args.integer(0, "axis")? != 1 {
            return Err(args.fault("an axis other than channels"));
        }
        return builder.push(prefix, Op::Concat, inputs);
    }
    let [input] = *inputs else {
        return Err(Fault::new(
            format!("{} inputs for {}", inputs.len(), row.module),
            "one `from`",
            "only Concat and Detect read several layers",
        ));
    };
    match row.module.as_str() {
        "Conv" => {
            let args = conv_args(builder, row, "[channels, kernel, stride, padding, groups, dilation]", 1)?;
            conv(builder, prefix, input, args)
        }
        "RepConv" => {
            let args = conv_args(builder, row, "[channels, 3, stride, padding, groups, dilation]", 3)?;
            rep_block::add(builder, prefix, input, args)
        }
        "Focus" => {
            let args = conv_args(builder, row, "[channels, kernel, stride, padding, groups, dilation]", 1)?;
            let blocks = builder.push(format!("{prefix}.blocks"), Op::SpaceToDepth, &[input])?;
            conv(builder, &format!("{prefix}.conv"), blocks, args)
        }
        "Bottleneck" => csp::add_bottleneck(builder, row, prefix, input, csp::Inner::Plain),
        "BottleneckRep" => csp::add_bottleneck(builder, row, prefix, input, csp::Inner::Rep),
        "C3" => csp::add_c3(builder, row, prefix, input, depth, csp::Inner::Plain),
        "C3Rep" => csp::add_c3(builder, row, prefix, input, depth, csp::Inner::Rep),
        "CSP" => csp::add_csp(builder, row, prefix, input, depth, csp::Inner::Plain),
        "CSPRep" => csp::add_csp(builder, row, prefix, input, depth, csp::Inner::Rep),
        "SPP" => spp(builder, row, prefix, input),
        "SPPF" => sppf(builder, row, prefix, input),
        "nn.Upsample" => upsample(builder, row, prefix, input),
        "nn.MaxPool2d" => max_pool(builder, row, prefix, input),
        "Detect" => {
            Err(Fault::new("Detect before the last row", "one Detect, the last row", "move it to the end"))
        }
        other => Err(Fault::new(
            format!("unknown module {other:?}"),
            format!("one of {MODULES}"),
            "check the spelling; other modules of YOLOv5 are not supported",
        )),
    }
}

/// Convolution without bias, batch norm, activation.
pub(super) fn conv(builder: &mut Builder, prefix: &str, input: NodeId, args: ConvArgs) -> Outcome<NodeId> {
    let sum = conv_bn(builder, prefix, input, args)?;
    builder.push_act(format!("{prefix}.act"), sum)
}

/// Convolution without bias, then batch norm.
pub(super) fn conv_bn(builder: &mut Builder, prefix: &str, input: NodeId, args: ConvArgs) -> Outcome<NodeId> {
    let conv = Op::Conv(args.conv(builder.channels(input)));
    let conv = builder.push(format!("{prefix}.conv"), conv, &[input])?;
    batch_norm(builder, format!("{prefix}.bn"), conv)
}

/// Batch norm over all channels of `input`.
pub(super) fn batch_norm(builder: &mut Builder, name: String, input: NodeId) -> Outcome<NodeId> {
    builder.push(name, Op::BatchNorm { channels: builder.channels(input), eps: BN_EPS }, &[input])
}

/// 1×1 convolutions with bias, one an output: `anchors · (5 + classes)` channels each.
pub(super) fn detect(
    builder: &mut Builder,
    row: &Row,
    prefix: &str,
    inputs: &[NodeId],
) -> Outcome<Vec<NodeId>> {
    if row.module != "Detect" {
        return Err(Fault::new(
            format!("{} as the last row", row.module),
            "Detect",
            "end the head with [[rows], 1, Detect, [nc, anchors]]",
        ));
    }
    let args = Args::new("Detect", "[nc, anchors]", &row.args, 2)?;
    args.word(0, "nc")?;
    args.word(1, "anchors")?;
    if row.number != 1 {
        return Err(args.fault(format!("number {}", row.number)));
    }
    let anchors = &builder.description.anchors_px;
    if anchors.len() != inputs.len() {
        return Err(Fault::new(
            format!("{} inputs and {} anchor lists", inputs.len(), anchors.len()),
            "an anchor list for each input of Detect",
            "give `anchors` one row for each layer Detect reads",
        ));
    }
    let cout = anchors[0].len() * (5 + builder.classes);
    let mut outputs = Vec::with_capacity(inputs.len());
    for (level, &input) in inputs.iter().enumerate() {
        let conv = Conv { bias: true, ..ConvArgs::same(cout, 1, 1).conv(builder.channels(input)) };
        outputs.push(builder.push(format!("{prefix}.m.{level}"), Op::Conv(conv), &[input])?);
    }
    Ok(outputs)
}

fn conv_args(builder: &Builder, row: &Row, usage: &str, default_kernel: usize) -> Outcome<ConvArgs> {
    let args = Args::new(&row.module, usage, &row.args, 6)?;
    let kernel = args.integer_or(1, "kernel", default_kernel)?;
    let dilation = args.integer_or(5, "dilation", 1)?;
    let reach = dilation.saturating_mul(kernel.saturating_sub(1)) + 1;
    Ok(ConvArgs {
        cout: builder.scale_width(args.integer(0, "channels")?),
        kernel,
        stride: args.integer_or(2, "stride", 1)?,
        pad: args.integer_or(3, "padding", reach / 2)?,
        groups: args.integer_or(4, "groups", 1)?,
        dilation,
    })
}

/// Max pools of several windows side by side (spatial pyramid pooling).
fn spp(builder: &mut Builder, row: &Row, prefix: &str, input: NodeId) -> Outcome<NodeId> {
    let args = Args::new("SPP", "[channels, [5, 9, 13]]", &row.args, 2)?;
    let cout = builder.scale_width(args.integer(0, "channels")?);
    let windows = args.integers(1, "windows")?.unwrap_or_else(|| vec![5, 9, 13]);
    if windows.is_empty() || windows.len() > 8 || windows.iter().any(|window| window % 2 == 0) {
        return Err(args.fault(format!("windows {windows:?}")));
    }
    let hidden = half_of(builder, prefix, input)?;
    let mut parts = vec![hidden];
    for (index, &kernel) in windows.iter().enumerate() {
        parts.push(pool_same(builder, format!("{prefix}.m.{index}"), hidden, kernel)?);
    }
    join(builder, prefix, &parts, cout)
}

/// Three max pools of one window in a row: the same result as [`spp`] with 5, 9, 13 for a window of 5, but faster.
fn sppf(builder: &mut Builder, row: &Row, prefix: &str, input: NodeId) -> Outcome<NodeId> {
    let args = Args::new("SPPF", "[channels, window]", &row.args, 2)?;
    let cout = builder.scale_width(args.integer(0, "channels")?);
    let kernel = args.integer_or(1, "window", 5)?;
    if kernel % 2 == 0 {
        return Err(args.fault(format!("an even window of {kernel}")));
    }
    let mut parts = vec![half_of(builder, prefix, input)?];
    for index in 0..3 {
        parts.push(pool_same(builder, format!("{prefix}.m.{index}"), parts[index], kernel)?);
    }
    join(builder, prefix, &parts, cout)
}

fn half_of(builder: &mut Builder, prefix: &str, input: NodeId) -> Outcome<NodeId> {
    let hidden = ConvArgs::same(builder.channels(input) / 2, 1, 1);
    conv(builder, &format!("{prefix}.cv1"), input, hidden)
}

fn pool_same(builder: &mut Builder, name: String, input: NodeId, kernel: usize) -> Outcome<NodeId> {
    builder.push(name, Op::MaxPool { kernel, stride: 1, pad: kernel / 2 }, &[input])
}

fn join(builder: &mut Builder, prefix: &str, parts: &[NodeId], cout: usize) -> Outcome<NodeId> {
    let all = builder.push(format!("{prefix}.concat"), Op::Concat, parts)?;
    conv(builder, &format!("{prefix}.cv2"), all, ConvArgs::same(cout, 1, 1))
}

fn upsample(builder: &mut Builder, row: &Row, prefix: &str, input: NodeId) -> Outcome<NodeId> {
    let args = Args::new("nn.Upsample", "[None, factor, nearest]", &row.args, 3)?;
    if let Some(size) = args.value(0) {
        return Err(args.fault(format!("a fixed size {}", super::yaml::show(size))));
    }
    args.word(2, "nearest")?;
    let factor = args.integer(1, "factor")?;
    builder.push(prefix, Op::Upsample { factor }, &[input])
}

fn max_pool(builder: &mut Builder, row: &Row, prefix: &str, input: NodeId) -> Outcome<NodeId> {
    let args = Args::new("nn.MaxPool2d", "[kernel, stride, padding]", &row.args, 3)?;
    let kernel = args.integer(0, "kernel")?;
    let stride = args.integer_or(1, "stride", kernel)?;
    let pad = args.integer_or(2, "padding", 0)?;
    builder.push(prefix, Op::MaxPool { kernel, stride, pad }, &[input])
}
