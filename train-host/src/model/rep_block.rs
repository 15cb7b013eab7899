//! Re-parameterizable blocks in their training form. Fused they are exactly a plain Conv layer, whose names
//! (`PREFIX.conv`, `PREFIX.act`) the fuse pass gives back.

use artifact::Fault;

use super::build::Builder;
use super::graph::{NodeId, Op};
use super::layers::{ConvArgs, batch_norm, conv_bn};
use super::validate::Outcome;
use super::yaml::Block;

/// Adds a block in the form the description asks for.
pub(super) fn add(builder: &mut Builder, prefix: &str, input: NodeId, args: ConvArgs) -> Outcome<NodeId> {
    if args.kernel != 3 || args.pad != args.dilation {
        return Err(Fault::new(
            format!("a rep block of kernel {} and padding {}", args.kernel, args.pad),
            format!("kernel 3 and padding {}: the 1x1 branch must fall on its center", args.dilation),
            "use Conv here",
        ));
    }
    let sum = match builder.block() {
        Block::Repvgg => repvgg(builder, prefix, input, args)?,
        Block::Qarepvgg => qarepvgg(builder, prefix, input, args)?,
    };
    builder.push_act(format!("{prefix}.act"), sum)
}

fn repvgg(builder: &mut Builder, prefix: &str, input: NodeId, args: ConvArgs) -> Outcome<NodeId> {
    let dense = conv_bn(builder, &format!("{prefix}.dense"), input, args)?;
    let pointwise = conv_bn(builder, &format!("{prefix}.pointwise"), input, pointwise(args))?;
    let mut branches = vec![dense, pointwise];
    if has_identity(builder, input, args) {
        branches.push(batch_norm(builder, format!("{prefix}.identity"), input)?);
    }
    builder.push(format!("{prefix}.add"), Op::Add, &branches)
}

fn qarepvgg(builder: &mut Builder, prefix: &str, input: NodeId, args: ConvArgs) -> Outcome<NodeId> {
    let dense = conv_bn(builder, &format!("{prefix}.dense"), input, args)?;
    let pointwise = Op::Conv(pointwise(args).conv(builder.channels(input)));
    let pointwise = builder.push(format!("{prefix}.pointwise.conv"), pointwise, &[input])?;
    let mut branches = vec![dense, pointwise];
    if has_identity(builder, input, args) {
        branches.push(input);
    }
    let sum = builder.push(format!("{prefix}.add"), Op::Add, &branches)?;
    batch_norm(builder, format!("{prefix}.bn"), sum)
}

fn pointwise(args: ConvArgs) -> ConvArgs {
    ConvArgs { kernel: 1, pad: 0, dilation: 1, ..args }
}

fn has_identity(builder: &Builder, input: NodeId, args: ConvArgs) -> bool {
    args.stride == 1 && builder.channels(input) == args.cout
}
